// SPDX-License-Identifier: LGPL-2.1-or-later
// The streaming decoder and the words encoder.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "networks/decoders/pca_encoder.h"
#include "networks/decoders/taehv.h"
#include "networks/decoders/taehv_encoder.h"
#include "networks/decoders/wan_vae.h"
#include "networks/random_weights.h"
#include "networks/text/words.h"
#include "temp_folder.h"

namespace flowcache {
namespace {

using nlohmann::json;
using test::message_of;

json taehv_config() {
  return {{"latent_channels", 16},
          {"patch_size", 1},
          {"n_f", {20, 16, 12, 8}},
          {"mem_blocks", {3, 3, 3}},
          {"frames_to_trim", 3}};
}

std::unique_ptr<Decoder> taehv(const json& change = json::object(), at::ScalarType type = at::kFloat) {
  json config = taehv_config();
  config.update(change);
  return make_taehv(
      config, read_safetensors(FLOWCACHE_SOURCE_DIR "/tests/golden/taehv-decode-stream/weights.safetensors"),
      type, at::kCPU);
}

at::Tensor decode(const Decoder& decoder, const at::Tensor& latents, std::initializer_list<int64_t> split) {
  const auto state = decoder.open();
  std::vector<at::Tensor> frames;
  int64_t begin = 0;
  for (const int64_t n : split) {
    frames.push_back(decoder.decode(latents.narrow(0, begin, n), *state));
    begin += n;
  }
  return at::cat(frames);
}

TEST(Taehv, SplitIsTheWhole) {
  at::manual_seed(4);
  const auto decoder = taehv();
  const at::Tensor latents = at::randn({6, 16, 4, 6});
  const at::Tensor whole = decode(*decoder, latents, {6});
  EXPECT_EQ(whole.sizes(), at::IntArrayRef({6 * 4 - 3, 3, 32, 48}));
  EXPECT_GE(whole.min().item<float>(), 0);
  EXPECT_LE(whole.max().item<float>(), 1);
  for (const auto& split : {std::initializer_list<int64_t>{1, 1, 1, 1, 1, 1}, {2, 4}, {5, 1}}) {
    EXPECT_LE((decode(*decoder, latents, split) - whole).abs().max().item<double>(), 1e-5);
  }
}

TEST(Taehv, SlicedDecodingIsTheSame) {
  at::manual_seed(4);
  const at::Tensor latents = at::randn({6, 16, 4, 6});
  const at::Tensor whole = decode(*taehv(), latents, {3, 3});
  for (const int frames : {1, 2, 3, 7}) {
    const at::Tensor sliced = decode(*taehv({{"slice_frames", frames}}), latents, {3, 3});
    ASSERT_EQ(sliced.sizes(), whole.sizes()) << frames;
    EXPECT_LE((sliced - whole).abs().max().item<double>(), 1e-5) << frames;
  }
  EXPECT_NE(message_of([] { taehv({{"slice_frames", -1}}); }).find("slice_frames"), std::string::npos);
}

TEST(Taehv, StreamsDoNotMix) {
  at::manual_seed(4);
  const auto decoder = taehv();
  const at::Tensor a = at::randn({2, 16, 4, 6}), b = at::randn({2, 16, 4, 6});
  const auto one = decoder->open(), two = decoder->open();
  const at::Tensor first = decoder->decode(a, *one);
  decoder->decode(b, *two);
  EXPECT_TRUE(at::cat({first, decoder->decode(b, *one)}).equal(decode(*decoder, at::cat({a, b}), {2, 2})));
}

TEST(Taehv, LatentScaleMultiplies) {
  at::manual_seed(4);
  const at::Tensor latents = at::randn({2, 16, 4, 6});
  const at::Tensor want = decode(*taehv(), latents * 0.5, {2});
  EXPECT_LE((decode(*taehv({{"latent_scale", 0.5}}), latents, {2}) - want).abs().max().item<double>(), 1e-6);
}

// What LightX2V's lighttae needs, there and back.
TEST(Taehv, MeanAndDeviationOfEachChannelAreUndone) {
  at::manual_seed(4);
  const at::Tensor latents = at::randn({2, 16, 4, 6});
  std::vector<double> mean, deviation;
  for (int i = 0; i < 16; ++i) {
    mean.push_back(0.1 * i - 0.5);
    deviation.push_back(0.5 + 0.1 * i);
  }
  const at::Tensor as_decoded = latents * at::tensor(deviation, at::kFloat).view({16, 1, 1}) +
                                at::tensor(mean, at::kFloat).view({16, 1, 1});
  const json config = {{"latents_mean", mean}, {"latents_std", deviation}};
  const at::Tensor want = decode(*taehv(), as_decoded, {2});
  EXPECT_LE((decode(*taehv(config), latents, {2}) - want).abs().max().item<double>(), 1e-6);
  EXPECT_GT((decode(*taehv(), latents, {2}) - want).abs().max().item<double>(), 1e-2);
  const auto encode = [](const json& given) {
    const auto build = [&](WeightMap weights) {
      return TaehvEncoder(TaehvEncoderConfig::from_json(given), weights, at::kFloat, at::kCPU, "encoder")
          .encode(at::linspace(0, 1, 4 * 3 * 16 * 24).view({4, 3, 16, 24}));
    };
    return build(random_weights(wanted_by(build)));
  };
  const at::Tensor back = encode(config) * at::tensor(deviation, at::kFloat).view({16, 1, 1}) +
                          at::tensor(mean, at::kFloat).view({16, 1, 1});
  EXPECT_LE((back - encode(json::object())).abs().max().item<double>(), 1e-5);
  const auto wrong = [&](const json& bad) { return message_of([&] { taehv(bad); }); };
  EXPECT_NE(wrong({{"latents_mean", mean}}).find("latents_std"), std::string::npos);
  EXPECT_NE(wrong({{"latents_mean", {1, 2}}, {"latents_std", deviation}}).find("16 numbers"),
            std::string::npos);
  deviation[3] = 0;
  EXPECT_NE(wrong({{"latents_mean", mean}, {"latents_std", deviation}}).find("above 0"), std::string::npos);
}

// ---- encoders, piece by piece

template <typename Encoder, typename Config>
Encoder golden_encoder(const std::string& name) {
  const std::string folder = FLOWCACHE_SOURCE_DIR "/tests/golden/" + name;
  std::ifstream file(folder + "/case.json");
  return Encoder(Config::from_json(json::parse(file).at("config")),
                 read_safetensors(folder + "/weights.safetensors"), at::kFloat, at::kCPU, name);
}

// Encodes a clip of 3 x 2 latent frames whole and in three pieces.
void expect_pieces(const FrameEncoder& encoder, int64_t first, int64_t width, int64_t height) {
  at::manual_seed(3);
  const auto state = encoder.open();
  const at::Tensor clip = at::rand({first + 16, 3, height, width});
  std::vector<at::Tensor> pieces;
  int64_t begin = 0;
  for (int i = 0; i < 3; ++i) {
    const int64_t count = encoder.frames_for(2, *state);
    EXPECT_EQ(count, i == 0 ? first : 8);
    const auto before = state->copy();
    pieces.push_back(encoder.encode_next(clip.narrow(0, begin, count), *state));
    // A copy of the state is not touched: the piece can be encoded again.
    EXPECT_TRUE(
        encoder.encode_next(clip.narrow(0, begin, count), *before).allclose(pieces.back(), 1e-5, 1e-5));
    begin += count;
  }
  const at::Tensor whole = encoder.encode(clip);
  EXPECT_TRUE(at::cat(pieces).allclose(whole, 1e-4, 1e-4))
      << (at::cat(pieces) - whole).abs().max().item<double>();
  if (first == 5) return;
  // The last frames of a piece matter to the next one.
  const auto fresh = encoder.open();
  EXPECT_EQ(encoder.encode_next(clip.narrow(0, 8, 8), *fresh).sizes(), pieces[1].sizes());
}

TEST(Encoders, PiecesGiveWhatTheWholeClipGives) {
  expect_pieces(golden_encoder<TaehvEncoder, TaehvEncoderConfig>("taehv-encode"), 8, 32, 24);
  expect_pieces(golden_encoder<WanVaeEncoder, WanVaeConfig>("wan-vae-encode"), 5, 32, 24);
}

TEST(Encoders, TheStateIsOfUse) {
  at::manual_seed(3);
  const auto encoder = golden_encoder<TaehvEncoder, TaehvEncoderConfig>("taehv-encode");
  const at::Tensor clip = at::rand({8, 3, 24, 32});
  const auto state = encoder.open(), fresh = encoder.open();
  encoder.encode_next(clip.narrow(0, 0, 4), *state);
  const at::Tensor follows = encoder.encode_next(clip.narrow(0, 4, 4), *state);
  EXPECT_FALSE(follows.allclose(encoder.encode_next(clip.narrow(0, 4, 4), *fresh), 1e-3, 1e-3));
}

// Components written out: the mean of a block and the difference of its frames.
TEST(Encoders, PcaIsItsFormula) {
  const PcaEncoderConfig config = PcaEncoderConfig::from_json(
      {{"latent_channels", 2}, {"frames", 2}, {"cell", 2}, {"evenness", 0.5}, {"latent_scale", 4}});
  at::Tensor basis = at::zeros({3, 2, 2, 2, 2});  // colour, frame, row, column; component
  basis.select(4, 0).fill_(1.0 / 24);
  basis.select(4, 1).select(1, 1).fill_(1.0 / 12);
  basis.select(4, 1).select(1, 0).fill_(-1.0 / 12);
  const WeightMap weights = {
      {"mean", at::full({24}, 0.5)}, {"basis", basis.view({24, 2})}, {"variance", at::tensor({4.0F, 1.0F})}};
  const PcaEncoder encoder(config, weights, at::kFloat, at::kCPU, "pca");
  at::Tensor clip = at::full({4, 3, 4, 2}, 0.75);
  clip[1].narrow(1, 2, 2).fill_(0.25);
  const at::Tensor latents = encoder.encode(clip);
  ASSERT_EQ(latents.sizes(), (std::vector<int64_t>{2, 2, 2, 1}));
  // Deviations 2 and 1: the first component times 1 / 2, the second times (1 / 2)^0.5 / 1, and all by 4.
  EXPECT_NEAR(latents[0][0][0][0].item<double>(), 0.25 / 2 / 4, 1e-6);
  EXPECT_NEAR(latents[0][0][1][0].item<double>(), 0, 1e-6);
  EXPECT_NEAR(latents[0][1][1][0].item<double>(), -0.5 * std::sqrt(0.5) / 4, 1e-6);
  EXPECT_NE(message_of([&] { encoder.encode(clip.narrow(0, 0, 3)); }).find("multiples of 2 frames"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              PcaEncoderConfig::from_json({{"latent_scale", 0}});
            }).find("latent_scale"),
            std::string::npos);
}

TEST(Taehv, Bf16IsNearFp32) {
  at::manual_seed(4);
  const at::Tensor latents = at::randn({2, 16, 4, 6});
  const at::Tensor a = decode(*taehv(), latents, {2}),
                   b = decode(*taehv(json::object(), at::kBFloat16), latents, {2});
  EXPECT_LE((a - b).square().mean().sqrt().item<double>(), 0.01);
}

TEST(Taehv, BadConfigIsNamed) {
  EXPECT_NE(message_of([] {
              taehv({{"n_f", {1, 2}}});
            }).find("config.n_f is [1,2]; wanted four widths"),
            std::string::npos);
  EXPECT_NE(message_of([] { taehv({{"mem_blocks", {3, 3, 2}}}); }).find("missing"), std::string::npos);
  EXPECT_NE(message_of([] {
              taehv({{"latent_scale", 0}});
            }).find("config.latent_scale is 0"),
            std::string::npos);
}

// ---- words
// -----------------------------------------------------------------------------------------------------------

const WordsEncoder& words() {
  static const json section = {{"vocabulary", {"<pad>", "fire", "ocean", "slow", "star", "stars", "golden"}},
                               {"synonyms", {{"flames", "fire"}, {"sunset", "golden ocean"}, {"the", ""}}},
                               {"max_length", 4}};
  static const WordsEncoder encoder(
      section, {{"token_embedding.weight", at::arange(14, at::kFloat).view({7, 2})}}, at::kCPU);
  return encoder;
}

struct Prompt {
  std::string text;
  std::vector<int64_t> ids;
  std::vector<std::string> unknown;
};

TEST(Words, LooksUpInOrder) {
  const std::vector<Prompt> table = {
      {"", {}, {}},
      {"slow FIRE", {3, 1}, {}},
      {"fire,ocean;slow", {1, 2, 3}, {}},
      {"flames", {1}, {}},                                     // synonym
      {"sunset", {6, 2}, {}},                                  // synonym of two words
      {"oceam", {2}, {}},                                      // replaced
      {"ocan", {2}, {}},                                       // deleted
      {"ocxean", {2}, {}},                                     // inserted
      {"starr", {}, {"starr"}},                                // one edit from star and from stars
      {"stars", {5}, {}},                                      // exact beats near
      {"fir", {}, {"fir"}},                                    // too short to guess
      {"fire fire fire fire ocean", {1, 1, 1, 1}, {"ocean"}},  // the fifth word is dropped
      {"fire slow fire slow slow fire", {1, 3, 1, 3}, {}},     // as others of its kind are not
      {"the sunset sunset the sunset", {6, 2, 6, 2}, {}},      // "the" takes no place
      {"two dogs, two cats", {}, {"two", "dogs", "cats"}},
      {"f\xc3\xa9u fire 42", {1}, {"f\xc3\xa9u", "42"}},  // letters beyond a-z are letters
      {"\xd0\x9e\xd0\x93\xd0\x9e\xd0\x9d\xd0\xac fire",
       {1},
       {"\xd0\xbe\xd0\xb3\xd0\xbe\xd0\xbd\xd1\x8c"}},           // ОГОНЬ
      {"fire\xe3\x80\x81\xe7\x81\xab", {1}, {"\xe7\x81\xab"}},  // fire、火
      {"\xe2\x80\x9c"
       "fire\xe2\x80\x9d\xe2\x80\xa6ocean",
       {1, 2},
       {}},                                                    // “fire”…ocean
      {"fire\xf0\x9f\x94\xa5", {}, {"fire\xf0\x9f\x94\xa5"}},  // an emoji at its end
  };
  for (const Prompt& prompt : table) {
    std::vector<std::string> unknown;
    EXPECT_EQ(words().ids(prompt.text, unknown), prompt.ids) << prompt.text;
    EXPECT_EQ(unknown, prompt.unknown) << prompt.text;
  }
}

TEST(Words, GivesRowsOfTheTable) {
  const TextFeatures features = words().encode("ocean zebra");
  EXPECT_TRUE(features.embedding.equal(at::tensor({4.f, 5.f}).view({1, 2})));
  EXPECT_EQ(features.unknown, std::vector<std::string>{"zebra"});
  EXPECT_TRUE(words().encode("").embedding.equal(at::tensor({0.f, 1.f}).view({1, 2})));
  EXPECT_EQ(words().vocabulary().size(), 6u);
}

TEST(Words, BadSectionsAreNamed) {
  const WeightMap weights = {{"token_embedding.weight", at::zeros({2, 2})}};
  const auto make = [&](const json& section) {
    return message_of([&] { WordsEncoder(section, weights, at::kCPU); });
  };
  EXPECT_NE(make({{"max_length", 4}}).find("text.vocabulary is missing"), std::string::npos);
  EXPECT_NE(make({{"vocabulary", {"a", "a"}}, {"max_length", 4}}).find("different words"), std::string::npos);
  EXPECT_NE(make({{"vocabulary", {"a", "b"}}, {"max_length", 0}}).find("text.max_length is 0"),
            std::string::npos);
  EXPECT_NE(make({{"vocabulary", {"a", "b", "c"}}, {"max_length", 4}}).find("is [2, 2], wanted [3, any]"),
            std::string::npos);
  EXPECT_NE(make({{"vocabulary", {"a", "b"}}, {"max_length", 4}, {"synonyms", {{"x", "y"}}}})
                .find("text.synonyms.x is \"y\""),
            std::string::npos);
}

}  // namespace
}  // namespace flowcache
