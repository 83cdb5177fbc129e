// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "families/factory.h"
#include "families/wan/config.h"
#include "families/wan/wan.h"
#include "rounding.h"
#include "temp_folder.h"

namespace flowcache {
namespace {

using nlohmann::json;
using test::message_of;

json tiny() {
  return {{"dim", 64},      {"ffn_dim", 128}, {"num_heads", 2}, {"num_layers", 4},
          {"text_dim", 24}, {"text_len", 8},  {"freq_dim", 64}};
}

WeightMap random_weights(const json& config) {
  at::manual_seed(3);
  WeightMap weights;
  for (const WeightSpec& spec : wan::Config::from_json(config).weights())
    weights[spec.name] = at::randn(spec.shape) * 0.1;
  return weights;
}

class Wan : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    wan = make_wan(tiny(), random_weights(tiny()), GetParam(), at::kCPU);
    latent = at::randn({16, 3, 12, 20});
    condition = wan->condition(at::randn({5, 24}));
  }
  // By how much two orders of the same sums may differ, relative to the largest value. In fp32 the sums
  // themselves count, because they are longer than the path is deep.
  static double agreement() {
    return GetParam() == at::kFloat ? 1e-5 : test::rounding_error(GetParam(), test::roundings_of(4));
  }
  at::Tensor run(std::span<const double> timesteps, int split) const {
    OwnKeys own;
    const Embedded embedded = wan->embed(latent, timesteps, 6);
    at::Tensor x = wan->blocks(embedded, embedded.tokens, *condition, own, 0, split);
    x = wan->blocks(embedded, x, *condition, own, split, 4);
    return wan->head(embedded, x);
  }
  std::unique_ptr<Transformer> wan;
  at::Tensor latent;
  std::shared_ptr<const Condition> condition;
};
INSTANTIATE_TEST_SUITE_P(Networks, Wan, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return info.param == at::kFloat ? "fp32" : "bf16"; });

TEST_P(Wan, BlocksMayBeRunInParts) {
  const double t = 500;
  const at::Tensor whole = run({&t, 1}, 4);
  EXPECT_EQ(whole.sizes(), latent.sizes());
  for (const int split : {0, 1, 3}) EXPECT_TRUE(run({&t, 1}, split).equal(whole)) << split;
}

TEST_P(Wan, SameThreadsSameBits) {
  const double t = 500;
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const at::Tensor first = run({&t, 1}, 4);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(run({&t, 1}, 4).equal(first)) << threads;
  }
  at::set_num_threads(before);
}

TEST_P(Wan, SlicesGiveTheSameResult) {
  const double t = 500;
  const at::Tensor whole = run({&t, 1}, 4);
  for (const int slice : {1, 7, 180, 100000}) {
    wan->slice_tokens(slice);
    const double error = (run({&t, 1}, 4) - whole).abs().max().item<double>();
    EXPECT_LE(error, agreement() * whole.abs().max().item<double>()) << slice;
  }
}

TEST_P(Wan, LeavesItsInputsAlone) {
  const double t = 500;
  OwnKeys own;
  const Embedded embedded = wan->embed(latent, {&t, 1}, 0);
  const at::Tensor before = embedded.tokens.clone();
  wan->blocks(embedded, embedded.tokens, *condition, own, 0, 4);
  EXPECT_TRUE(embedded.tokens.equal(before));
}

TEST_P(Wan, OneTimestepAFrame) {
  const double one = 300;
  const std::vector<double> same = {300, 300, 300}, other = {300, 300, 900};
  const double scale = run({&one, 1}, 4).abs().max().item<double>();
  EXPECT_LE((run(same, 4) - run({&one, 1}, 4)).abs().max().item<double>(), agreement() * scale);
  EXPECT_GT((run(other, 4) - run({&one, 1}, 4)).abs().max().item<double>(), 2 * agreement() * scale);
  const std::vector<double> two = {1, 2};
  EXPECT_NE(message_of([&] { run(two, 4); }).find("do not divide 3"), std::string::npos);
}

TEST_P(Wan, TextIsPadded) {
  const double t = 500;
  const at::Tensor features = at::randn({3, 24});
  condition = wan->condition(features);
  const at::Tensor a = run({&t, 1}, 4);
  condition = wan->condition(at::cat({features, at::zeros({5, 24})}));
  EXPECT_TRUE(run({&t, 1}, 4).equal(a));
  EXPECT_NE(message_of([&] {
              wan->condition(at::zeros({9, 24}));
            }).find("at most 8 x 24"),
            std::string::npos);
}

TEST(WanTypes, Bf16IsNearFp32) {
  const double t = 500;
  at::manual_seed(5);
  const at::Tensor latent = at::randn({16, 3, 12, 20}), text = at::randn({5, 24});
  at::Tensor velocity[2];
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto wan = make_wan(tiny(), random_weights(tiny()), type, at::kCPU);
    OwnKeys own;
    velocity[type == at::kFloat ? 0 : 1] = wan->forward(latent, t, 0, *wan->condition(text), own);
  }
  const double error = (velocity[0] - velocity[1]).square().mean().sqrt().item<double>();
  const double scale = velocity[0].square().mean().sqrt().item<double>();
  EXPECT_LT(error, test::rounding_error(at::kBFloat16, test::roundings_of(4)) * scale);
  EXPECT_GT(error, 0);
}

TEST(WanRope, AScaledGridLiesAtThePositionsOfASmallerOne) {
  const RopeTable small = rope_table({3, 2, 3}, 7, 32, at::kCPU),
                  large = rope_table({3, 4, 6}, 7, 32, at::kCPU, 0.5);
  for (const auto part : {&RopeTable::cos, &RopeTable::sin}) {
    const at::Tensor every_other = (large.*part).view({3, 4, 6, 16}).slice(1, 0, 4, 2).slice(2, 0, 6, 2);
    EXPECT_TRUE(at::equal(every_other, (small.*part).view({3, 2, 3, 16})));
  }
}

TEST(WanRope, TheConfigSaysHowMuch) {
  json scaled = tiny();
  scaled["rope_spatial_scale"] = 0.5;
  const auto weights = random_weights(tiny());
  at::manual_seed(5);
  const at::Tensor latent = at::randn({16, 3, 12, 20}), text = at::randn({5, 24});
  const auto velocity = [&](const json& config) {
    const auto wan = make_wan(config, weights, at::kFloat, at::kCPU);
    OwnKeys own;
    return wan->forward(latent, 500, 0, *wan->condition(text), own);
  };
  EXPECT_GT((velocity(scaled) - velocity(tiny())).abs().max().item<double>(), 1e-4);
}

// With four times as many tokens in a frame, the distance of rows is half with exponent 0.5, and unchanged
// with 0.
TEST(WanRope, TheScaleFollowsTheSize) {
  json config = tiny();
  config["rope_spatial_scale"] = 0.8;
  config["rope_reference_tokens"] = 72;
  const auto scale = [&](double exponent, int64_t tokens) {
    config["rope_scale_exponent"] = exponent;
    return wan::Config::from_json(config).rope_scale(tokens);
  };
  EXPECT_DOUBLE_EQ(scale(0.25, 72), 0.8);
  EXPECT_DOUBLE_EQ(scale(0, 288), 0.8);
  EXPECT_DOUBLE_EQ(scale(0.5, 288), 0.4);
  EXPECT_DOUBLE_EQ(scale(0.5, 18), 1.6);
}

TEST(WanConfig, BadFieldsAreNamed) {
  const std::vector<std::pair<json, std::string>> table = {
      {{{"dim", 0}}, "config.dim is 0"},
      {{{"num_heads", 5}}, "divides dim 64"},
      {{{"num_layers", "two"}}, "config.num_layers is \"two\""},
      {{{"model_type", "i2v"}}, "t2v"},
      {{{"qk_norm", false}}, "config.qk_norm is false"},
      {{{"patch_size", {2, 2, 2}}}, "[1, rows, columns]"},
      {{{"eps", 1.0}}, "config.eps"},
      {{{"rope_spatial_scale", 0}}, "config.rope_spatial_scale"},
      {{{"rope_scale_exponent", 2}}, "config.rope_scale_exponent"},
      {{{"rope_scale_exponent", 0.25}}, "config.rope_reference_tokens is missing"},
  };
  for (const auto& [change, says] : table) {
    json config = tiny();
    config.update(change);
    EXPECT_NE(message_of([&] { make_wan(config, {}, at::kFloat, at::kCPU); }).find(says), std::string::npos)
        << says;
  }
}

TEST(WanConfig, AllBadKeysAtOnce) {
  WeightMap weights = random_weights(tiny());
  weights.erase("blocks.2.ffn.0.weight");
  weights["head.head.bias"] = at::zeros({3});
  weights["blocks.9.modulation"] = at::zeros({1});
  const std::string message = message_of([&] { make_wan(tiny(), weights, at::kFloat, at::kCPU); });
  for (const char* part :
       {"blocks.2.ffn.0.weight [128, 64]", "head.head.bias is [3], wanted [64]", "blocks.9.modulation"})
    EXPECT_NE(message.find(part), std::string::npos) << part;
}

TEST(Factory, KnowsTheModelThatShips) {
  const ModelPackage package = read_package(FLOWCACHE_SOURCE_DIR "/models/ambient");
  EXPECT_EQ(make_transformer(package, at::kFloat, at::kCPU)->shape().latent_channels,
            package.latent_channels);
  const auto decoder = make_decoder(package, at::kFloat, at::kCPU);
  EXPECT_EQ(decoder->space_scale() * package.latent_width, package.width);
  EXPECT_EQ(decoder->time_scale() * package.latent_frames_per_chunk, package.frames_per_chunk);
  EXPECT_FALSE(make_text_encoder(package, at::kCPU)->vocabulary().empty());
}

TEST(Factory, ListsWhatItKnows) {
  ModelPackage package = read_package(FLOWCACHE_SOURCE_DIR "/models/ambient");
  package.family = "sora";
  package.decoder["kind"] = package.text["kind"] = "none";
  const std::string message = message_of([&] { make_transformer(package, at::kFloat, at::kCPU); });
  EXPECT_NE(message.find("family is \"sora\""), std::string::npos) << message;
  EXPECT_NE(message.find("wan-causal"), std::string::npos) << message;
  EXPECT_NE(message_of([&] { make_decoder(package, at::kFloat, at::kCPU); }).find("taehv"),
            std::string::npos);
  EXPECT_NE(message_of([&] { make_text_encoder(package, at::kCPU); }).find("words"), std::string::npos);
}

}  // namespace
}  // namespace flowcache
