// SPDX-License-Identifier: LGPL-2.1-or-later
// The model.json templates of the public checkpoints: they are valid, and every field in them is known.
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "cache/kv/kv_store.h"
#include "cache/registry.h"
#include "families/factory.h"
#include "families/magi/magi_stream.h"
#include "families/preflight.h"
#include "families/wan/config.h"
#include "networks/decoders/magi_vae.h"
#include "networks/decoders/wan_vae.h"
#include "networks/text/t5.h"
#include "package/files.h"
#include "package/model.h"
#include "samplers/factory.h"

using namespace flowcache;

namespace {

std::vector<std::filesystem::path> templates() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(FLOWCACHE_SOURCE_DIR) / "models/templates"))
    files.push_back(entry.path());
  return files;
}

class Template : public testing::TestWithParam<std::filesystem::path> {
 protected:
  ModelPackage package() { return read_package(GetParam()); }
};

// One for each shape of Wan's network in a causal stream.
std::vector<std::filesystem::path> wan_templates() {
  std::vector<std::filesystem::path> files;
  for (const char* name :
       {"self-forcing-1.3b", "causal-forcing-framewise-1step-1.3b", "krea-realtime-14b", "longlive-2.0-5b"})
    files.push_back(std::filesystem::path(FLOWCACHE_SOURCE_DIR) / "models/templates" /
                    (std::string(name) + ".json"));
  return files;
}

class Rehearsal : public testing::TestWithParam<std::filesystem::path> {};

}  // namespace

TEST_P(Template, IsAValidPackage) {
  const ModelPackage one = package();
  EXPECT_EQ(one.name + ".json", GetParam().filename().string());
  EXPECT_FALSE(one.description.empty() || one.license.empty());
  EXPECT_GT(kv_bytes_per_chunk(one, 2), 0U);
}

TEST_P(Template, NamesKnownPoliciesAndSamplers) {
  const ModelPackage one = package();
  EXPECT_NO_THROW(choose_reuse(one.cache.at("reuse").get<std::string>()));
  EXPECT_NO_THROW(choose_kv(one.cache.at("kv").get<std::string>()));
  const auto sampler = make_sampler(one.sampler, 0);
  EXPECT_EQ(sampler->table().steps(), one.sampler.at("steps").get<int>());
  EXPECT_NO_THROW(make_first_sampler(one.sampler));
}

TEST_P(Template, DescribesNetworksThatFitTogether) {
  const ModelPackage one = package();
  const nlohmann::json config = one.transformer.at("config");
  const T5Config text = T5Config::from_json(one.text.at("config"));
  int64_t layers = 0, text_dim = 0, kv_width = 0, passes = 1;
  if (one.family == "magi") {
    const MagiConfig magi = MagiConfig::from_json(config);
    layers = magi.layers;
    text_dim = magi.caption_channels;
    kv_width = magi.kv_heads * magi.head_dim;
    passes = MagiPasses::from_json(config).guided ? 2 : 1;  // passes whose keys are kept
    EXPECT_EQ(magi.distilled, passes == 1);
    EXPECT_EQ(magi.steps, one.sampler.at("steps").get<int>());
    EXPECT_NO_THROW(MagiVaeConfig::from_json(one.decoder.at("config")));
  } else {
    nlohmann::json plain = config;
    plain["inject_sample_info"] = false;
    const auto wan = wan::Config::from_json(plain);
    layers = wan.layers;
    text_dim = wan.text_dim;
    kv_width = wan.dim;
    if (one.decoder.at("kind") == "wan_vae") {
      EXPECT_NO_THROW(WanVaeConfig::from_json(one.decoder.at("config")));
    }
    EXPECT_EQ(config.value("out_dim", 16), one.latent_channels);
  }
  EXPECT_EQ(text.dim, text_dim);
  const int64_t tokens = one.latent_frames_per_chunk * (one.latent_height / 2) * (one.latent_width / 2);
  EXPECT_EQ(kv_bytes_per_chunk(one, 2), static_cast<uint64_t>(4 * passes * layers * kv_width * tokens));
}

TEST_P(Template, SaysWhereEachFileComesFrom) {
  for (const PackageFile& file : package_files(package())) EXPECT_FALSE(file.source.empty()) << file.name;
}

// The guidance of a model with a second branch keeps away from what its authors say.
TEST_P(Template, HasANegativePromptIfItsAuthorsPassOne) {
  const ModelPackage one = package();
  EXPECT_EQ(one.negative_prompt.empty(), one.sampler.value("guidance_scale", 1.0) == 1);
}

// What `flowcache inspect random:TEMPLATE` counts, from the shapes alone.
TEST_P(Template, CountsTheMemoryOfRandomWeights) {
  const ModelPackage one = read_package("random:" + GetParam().string());
  const WeightSizes sizes = weight_sizes(one);
  MemoryPlan plan = default_plan(one, 2, 2, false);
  plan.transformer_bytes = sizes.transformer;
  plan.text_bytes = sizes.text;
  plan.decoder_bytes = sizes.decoder;
  for (const MemoryNeed& need : memory_needs(one, plan))
    EXPECT_LT(need.bytes, uint64_t{200} << 30) << need.what;
  std::smatch billions;
  ASSERT_TRUE(std::regex_search(one.name, billions, std::regex("-([0-9.]+)b(-|$)")));
  EXPECT_NEAR(static_cast<double>(sizes.transformer) / 2e9 / std::stod(billions[1]), 1, 0.15)
      << "two bytes for each parameter that the name promises";
  EXPECT_GT(sizes.text, 0);
  EXPECT_GT(sizes.decoder, 0);
}

// A rehearsal at the real width, with one layer of random weights: a chunk of the template's frames goes through the
// transformer and the decoder, and a second one attends the first.
TEST_P(Rehearsal, OneLayerMakesFrames) {
  const c10::InferenceMode inference;
  ModelPackage one = read_package("random:" + GetParam().string());
  one.transformer["config"]["num_layers"] = 1;
  const auto network = make_transformer(one, at::kBFloat16, at::kCPU);
  const auto decoder = make_decoder(one, at::kFloat, at::kCPU);
  const TransformerShape& shape = network->shape();
  const int64_t frames = one.latent_frames_per_chunk, side = 4;
  KvGeometry geometry;
  geometry.layers = 1;
  geometry.kv_heads = geometry.heads = shape.kv_heads;
  geometry.head_dim = shape.head_dim;
  geometry.tokens_per_frame = shape.tokens_per_frame(side, side);
  geometry.tokens_per_chunk = frames * geometry.tokens_per_frame;
  geometry.dtype = at::kBFloat16;
  geometry.time_frequencies = shape.time_frequencies;
  KvStore kv(geometry, 2 * geometry.tokens_per_chunk,
             choose_kv(one.cache.at("kv").get<std::string>()).make());
  const int64_t text_dim = one.transformer["config"].at("text_dim").get<int64_t>();
  const auto condition = network->condition(at::randn({7, text_dim}));
  const auto sampler = make_sampler(one.sampler, 0);
  const auto state = decoder->open();
  int64_t shown = 0;
  for (int64_t chunk = 0; chunk < 2; ++chunk) {
    const at::Tensor noise = at::randn({one.latent_channels, frames, side, side});
    kv.admit(chunk, chunk * frames);
    const at::Tensor velocity =
        network->forward(noise, sampler->table().timestep[0], chunk * frames, *condition, kv.view(chunk));
    ASSERT_EQ(velocity.sizes(), noise.sizes());
    EXPECT_TRUE(velocity.isfinite().all().item<bool>());
    EXPECT_GT(velocity.abs().max().item<float>(), 0);
    kv.finish(chunk);
    const at::Tensor pictures = decoder->decode((noise - velocity).transpose(0, 1).contiguous(), *state);
    EXPECT_TRUE(pictures.isfinite().all().item<bool>());
    EXPECT_EQ(pictures.size(2), side * one.height / one.latent_height);
    shown += pictures.size(0);
  }
  EXPECT_EQ(shown, 2 * one.frames_per_chunk - (decoder->time_scale() - 1))
      << "a video begins with one frame of its own";
}

TEST(Templates, AreThere) {
  EXPECT_EQ(templates().size(), 17U);
}

namespace {
std::string name_of(const testing::TestParamInfo<std::filesystem::path>& info) {
  std::string name = info.param.stem().string();
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}
}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Template, testing::ValuesIn(templates()), name_of);
INSTANTIATE_TEST_SUITE_P(Wan, Rehearsal, testing::ValuesIn(wan_templates()), name_of);
