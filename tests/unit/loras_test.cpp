// SPDX-License-Identifier: LGPL-2.1-or-later
// LoRAs that change while a stream plays, with tiny weights.
#include "stream/loras.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "checkpoint_writer.h"
#include "families/family.h"
#include "networks/lora.h"
#include "networks/lora_list.h"
#include "networks/random_weights.h"
#include "stream/device.h"
#include "temp_folder.h"
#include "tiny_model.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

using test::message_of;
using test::TempFolder;

// LoRAs of the tiny model: of one matrix that is joined with others, of the text's keys, and of feed-forward and norm.
WeightMap lora_of(uint64_t seed) {
  const auto random = [&](std::initializer_list<int64_t> shape, int64_t draw) {
    return draw_noise(seed, 0, draw, at::IntArrayRef(shape), at::kCPU) * 0.2;
  };
  const std::string block = "diffusion_model.blocks.0.";
  return {{block + "self_attn.q.lora_down.weight", random({4, 64}, 1)},
          {block + "self_attn.q.lora_up.weight", random({64, 4}, 2)},
          {block + "cross_attn.k.lora_down.weight", random({4, 64}, 3)},
          {block + "cross_attn.k.lora_up.weight", random({64, 4}, 4)},
          {"diffusion_model.blocks.1.ffn.0.lora_down.weight", random({4, 64}, 5)},
          {"diffusion_model.blocks.1.ffn.0.lora_up.weight", random({128, 4}, 6)},
          {block + "norm3.diff", random({64}, 7)},
          {"diffusion_model.text_embedding.0.diff_b", random({64}, 8)}};
}

WeightMap tiny_weights() {
  return read_safetensors(FLOWCACHE_SOURCE_DIR "/tests/golden/self-forcing-pipeline/weights.safetensors");
}

// merged: LoRAs that are in the weights from the start, as those of model.json are.
std::shared_ptr<LoadedModel> model_in(Precision precision,
                                      const std::vector<std::pair<WeightMap, double>>& merged = {}) {
  const auto model = test::tiny_model();
  const auto weights = [merged] {
    WeightMap all = tiny_weights();
    for (const auto& [lora, scale] : merged) all = merge_lora(all, lora, scale, "x");
    return all;
  };
  model->compute = precision.compute;
  model->weights = precision.weights;
  model->transformer = make_wan(test::tiny_config(), weights(), precision, at::kCPU);
  model->weights_anew = weights;
  return model;
}

StreamConfig lora_config(const std::string& cache = "none") {
  return {.prompt = "fire",
          .negative_prompt = "ice",
          .seed = 5,
          .cache = cache,
          .kv_cache = "window",
          .threshold = 1,
          .steps = 4};
}

std::vector<at::Tensor> frames_of(Stream& stream, int chunks) {
  std::vector<at::Tensor> all;
  for (int i = 0; i < chunks; ++i) all.push_back(stream.next()->frames);
  return all;
}

void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                  const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i])) << what << ", chunk " << i;
}

class StreamLoras : public testing::Test {
 protected:
  c10::InferenceMode inference_;
  TempFolder folder_;
  const std::string style_ = folder_.write("style.safetensors", test::safetensors_of(lora_of(1))).string();
  const std::string other_ =
      folder_.write("other, with:2.safetensors", test::safetensors_of(lora_of(2))).string();
  const std::string other_spelled_ = folder_.path.string() + "/other\\, with\\:2.safetensors";
};

TEST_F(StreamLoras, FromTheStartTheyAreThoseOfModelJson) {
  const at::ScalarType bf16 = at::kBFloat16;
  for (const Precision& precision : {Precision(at::kFloat), Precision(bf16),
                                     Precision(bf16, at::kFloat8_e4m3fn), Precision(bf16, at::kChar)}) {
    Stream whole(model_in(precision, {{lora_of(1), 0.5}, {lora_of(2), -1}}), lora_config());
    Stream changed(model_in(precision), lora_config());
    EXPECT_GT(changed.lora(style_ + ":0.5," + other_spelled_ + ":-1", FC_NEXT_CHUNK), 0u);
    expect_equal(frames_of(changed, 3), frames_of(whole, 3), c10::toString(precision.weights));
  }
}

TEST_F(StreamLoras, ComeOnTopOfThoseOfModelJson) {
  Stream whole(model_in(at::kBFloat16, {{lora_of(1), 0.5}, {lora_of(2), 1}}), lora_config());
  Stream changed(model_in(at::kBFloat16, {{lora_of(1), 0.5}}), lora_config());
  changed.lora(other_spelled_, FC_NEXT_CHUNK);
  expect_equal(frames_of(changed, 2), frames_of(whole, 2), "on top");
}

// Nothing changes before its chunk, the chunk says so, and taken away it leaves nothing behind, not even after several.
TEST_F(StreamLoras, HoldFromTheirChunkOnAndLeaveNothingBehind) {
  const at::ScalarType bf16 = at::kBFloat16;
  for (const char* cache :
       {"none", "flowcache", "xchunk:angle=2", "taylorseer", "attention", "magcache", "forecast"}) {
    for (const Precision& precision : {Precision(at::kFloat), Precision(bf16, at::kChar)}) {
      const auto model = model_in(precision);
      const StreamConfig config = lora_config(cache);
      Stream plain(model, config), changed(model, config);
      const auto before = frames_of(plain, 4);
      expect_equal(frames_of(changed, 1), {before[0]}, cache);
      const uint64_t ticket = changed.lora(style_, 2);
      auto chunk = changed.next();
      EXPECT_TRUE(chunk->frames.equal(before[1])) << cache;
      EXPECT_EQ(chunk->lora_ticket, 0u);
      chunk = changed.next();
      EXPECT_FALSE(chunk->frames.equal(before[2])) << cache;
      EXPECT_EQ(chunk->lora_ticket, ticket);
      EXPECT_GT(chunk->lora_seconds, 0);
      const uint64_t last = changed.lora("", FC_NEXT_CHUNK);
      EXPECT_GT(last, ticket);
      EXPECT_EQ(changed.next()->lora_ticket, last);
      changed.reset(config.seed);
      expect_equal(frames_of(changed, 4), before, cache);
      Stream beside(model, config);  // another stream of the same model
      changed.lora(style_, FC_NEXT_CHUNK);
      changed.reset(config.seed);
      frames_of(changed, 1);
      expect_equal(frames_of(beside, 4), before, cache);
    }
  }
}

// Also with chunks in flight, which keep the network that they began with.
TEST_F(StreamLoras, ChunksInFlightKeepTheirOwn) {
  for (const char* cache : {"none", "flowcache", "attention", "xchunk:angle=2", "ramp+cfg_cache"}) {
    StreamConfig config = lora_config(cache);
    config.lag = 2;
    config.guidance = 3;
    const auto model = model_in(at::kFloat);
    Stream plain(model, config), changed(model, config);
    const auto before = frames_of(plain, 4);
    expect_equal(frames_of(changed, 1), {before[0]}, cache);
    const uint64_t ticket = changed.lora(style_, FC_NEXT_CHUNK);
    const auto next = changed.next();  // was in flight
    EXPECT_EQ(next->lora_ticket, 0u);
    EXPECT_TRUE(next->frames.equal(before[1])) << cache;
    const auto after = changed.next();
    EXPECT_EQ(after->lora_ticket, ticket);
    EXPECT_FALSE(after->frames.equal(before[2])) << cache;
  }
}

// R7: with a policy that reuses across chunks, nothing of the old weights is taken for the new.
TEST_F(StreamLoras, NothingOfTheOldWeightsIsReused) {
  const auto model = model_in(at::kFloat);
  StreamConfig config = lora_config("xchunk:angle=2,most_in_a_row=0");
  config.threshold = 10;
  for (const int lag : {4, 2}) {  // 2: chunks of both are in flight
    config.lag = lag;
    Stream stream(model, config);
    frames_of(stream, 3);
    const std::vector<uint8_t> usual = stream.next()->decisions;
    ASSERT_LT(std::accumulate(usual.begin(), usual.end(), 0), 4) << lag;
    const uint64_t ticket = stream.lora(style_, FC_NEXT_CHUNK);
    auto changed = stream.next();
    while (changed->lora_ticket != ticket) changed = stream.next();
    EXPECT_EQ(changed->decisions, std::vector<uint8_t>(4, 1)) << lag;
    bool reuses = false;  // again, what is the new weights' own
    for (int i = 0; i < 4; ++i)
      for (const auto next = stream.next(); const uint8_t computed : next->decisions)
        reuses = reuses || !computed;
    EXPECT_TRUE(reuses) << lag;
  }
}

// The keys of the prompts are made of the new weights, too: nothing but these changes here.
TEST_F(StreamLoras, ThePromptsKeysAreMadeAnew) {
  const std::string key = "diffusion_model.blocks.0.cross_attn.k.lora_",
                    file = folder_.path.string() + "/text";
  folder_.write("text", test::safetensors_of({{key + "down.weight", lora_of(1).at(key + "down.weight")},
                                              {key + "up.weight", lora_of(1).at(key + "up.weight")}}));
  const auto model = model_in(at::kFloat);
  StreamConfig config = lora_config();
  for (const double guidance : {1.0, 0.0}) {  // 0: the negative prompt alone
    config.guidance = guidance;
    Stream plain(model, config), changed(model, config);
    const auto before = frames_of(plain, 2);
    changed.next();
    changed.lora(file, FC_NEXT_CHUNK);
    EXPECT_FALSE(changed.next()->frames.equal(before[1])) << guidance;
  }
}

TEST_F(StreamLoras, AResetKeepsThem) {
  const auto model = model_in(at::kFloat);
  Stream fresh(model, lora_config()), reset(model, lora_config()), early(model, lora_config());
  fresh.lora(style_, FC_NEXT_CHUNK);
  const auto wanted = frames_of(fresh, 3);
  reset.lora(style_, FC_NEXT_CHUNK);
  reset.next();
  reset.lora(other_spelled_, 7);  // is forgotten
  reset.reset(lora_config().seed);
  expect_equal(frames_of(reset, 3), wanted, "reset");
  early.next();
  early.lora(style_, FC_NEXT_CHUNK);  // no chunk has had it yet
  early.reset(lora_config().seed);
  expect_equal(frames_of(early, 3), wanted, "given before the reset");
}

TEST_F(StreamLoras, OffloadedResidualsDoNotOutliveTheChange) {
  class Here final : public CopyLane {
   public:
    at::Tensor away(const at::Tensor& source) override { return source.clone(); }
    Arrival back(const at::Tensor& stored) override {
      return {stored.clone(), [] {}};
    }
  };
  const auto model = model_in(at::kFloat);
  const auto frames = [&](bool offloads) {
    Stream stream(model, lora_config("xchunk:angle=2"));
    if (offloads) stream.offload_through(std::make_unique<Here>());
    auto all = frames_of(stream, 2);
    stream.lora(style_, FC_NEXT_CHUNK);
    for (const at::Tensor& one : frames_of(stream, 2)) all.push_back(one);
    return all;
  };
  expect_equal(frames(true), frames(false), "offload");
}

TEST_F(StreamLoras, WhatIsNoLoraIsRefusedAndTheStreamGoesOn) {
  const auto model = model_in(at::kFloat);
  Stream plain(model, lora_config()), stream(model, lora_config());
  const auto before = frames_of(plain, 2);
  stream.next();
  const auto write = [&](const std::string& name, const WeightMap& weights) {
    return folder_.write(name, test::safetensors_of(weights)).string();
  };
  WeightMap dora = lora_of(1), alien = lora_of(1), bad = lora_of(1);
  dora["diffusion_model.blocks.0.self_attn.q.dora_scale"] = at::ones({64, 1});
  alien["diffusion_model.blocks.0.self_attn.q.lora_up.weight"] = at::ones({96, 4});
  bad["diffusion_model.blocks.0.self_attn.q.lora_up.weight"].fill_(std::numeric_limits<float>::quiet_NaN());
  const std::tuple<std::string, fc_status, std::string> cases[] = {
      {folder_.path.string() + "/nothing.safetensors", FC_ERROR_NOT_FOUND, "nothing.safetensors"},
      {write("dora.safetensors", dora), FC_ERROR_MODEL, "DoRA"},
      {write("alien.safetensors", alien), FC_ERROR_MODEL, "[96, 4]"},
      {write("bad.safetensors", bad), FC_ERROR_MODEL, "not finite"},
      {style_ + ":nan", FC_ERROR_ARGUMENT, "the scale nan"},
      {style_ + ":inf", FC_ERROR_ARGUMENT, "the scale inf"},
      {style_ + ":11", FC_ERROR_ARGUMENT, "outside -10..10"},
      {style_ + ",", FC_ERROR_ARGUMENT, "names no file"},
      {folder_.write("junk.safetensors", "junk").string(), FC_ERROR_MODEL, "junk.safetensors"},
  };
  for (const auto& [list, status, word] : cases) {
    try {
      stream.lora(list, FC_NEXT_CHUNK);
      FAIL() << list;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status) << error.what();
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
  const auto chunk = stream.next();
  EXPECT_TRUE(chunk->frames.equal(before[1]));
  EXPECT_EQ(chunk->lora_ticket, 0u);
}

TEST_F(StreamLoras, MemoryIsCheckedBefore) {
  const auto model = model_in(at::kBFloat16);
  model->package.transformer = {{"config", test::tiny_config()}};
  model->package.text = {{"kind", "words"}};
  model->package.random_weights = true;  // so that the plan reads no file
  model->package.decoder = {{"kind", "taehv"}, {"config", nlohmann::json::object()}};
  model->memory_limit = 1;  // all of it is for the model and a stream
  Loras loras(model);
  const std::string message = message_of([&] { loras.change(style_, FC_NEXT_CHUNK); });
  EXPECT_NE(message.find("cpu has 0.000 MB"), std::string::npos) << message;
  EXPECT_NE(message.find("transformer.loras"), std::string::npos) << message;
  model->memory_limit = 0;
  EXPECT_EQ(loras.change(style_, FC_NEXT_CHUNK), 1u);
}

// What is shared is not made again: one of 2 x 10 matrices changes, and those joined with it.
TEST_F(StreamLoras, OnlyWhatChangesTakesMemory) {
  const WeightMap weights = tiny_weights();
  std::set<std::string> touched = {"blocks.0.self_attn.q.weight", "blocks.1.norm3.weight"};
  const auto model = model_in(at::kFloat);
  model->transformer->add_joined(touched);
  EXPECT_EQ(touched, (std::set<std::string>{"blocks.0.self_attn.q.weight", "blocks.0.self_attn.k.weight",
                                            "blocks.0.self_attn.v.weight", "blocks.1.norm3.weight"}));
  const LoraNeeds needs = lora_needs(weights, touched, {at::kBFloat16, at::kChar});
  EXPECT_EQ(needs.weights, 3u * (64 * 64 + 64 * 4) + 64 * 4);
  EXPECT_EQ(needs.merging, 4u * 64 * 64 * 4);
  // The map lacks what is not touched, but for what is small: taking it would fail.
  WeightMap torn = weights;
  for (auto& [name, weight] : torn)
    if (weight.dim() == 2 && !touched.contains(name))
      weight = at::empty(weight.sizes(), at::TensorOptions(at::kMeta));
  EXPECT_NO_THROW(model->transformer->with_weights(torn, touched));
}

TEST_F(StreamLoras, ANetworkThatCannotSaysSo) {
  const auto model = model_in(at::kFloat);
  test::wrap_transformer<test::WrappedTransformer>(*model);
  Stream stream(model, lora_config());
  EXPECT_NE(message_of([&] { stream.lora(style_, FC_NEXT_CHUNK); }).find("cannot take other weights"),
            std::string::npos);
  model->weights_anew = nullptr;
  EXPECT_NE(message_of([&] { stream.lora(style_, FC_NEXT_CHUNK); }).find("weights are in files"),
            std::string::npos);
}

// A network whose making is stopped from its middle.
class Stopping final : public test::WrappedTransformer {
 public:
  using WrappedTransformer::WrappedTransformer;
  std::unique_ptr<Transformer> with_weights(const WeightMap&, const std::set<std::string>&) const override {
    stream->cancel();
    Linear(at::ones({8, 16}), {}, at::kFloat, at::kCPU);
    return nullptr;
  }
  Stream* stream = nullptr;
};

TEST_F(StreamLoras, ACancelStopsTheMerging) {
  const auto model = model_in(at::kFloat);
  Stopping* const network = test::wrap_transformer<Stopping>(*model);
  Stream stream(model, lora_config());
  network->stream = &stream;
  try {
    stream.lora(style_, FC_NEXT_CHUNK);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_CANCELLED);
  }
  EXPECT_THROW(stream.next(), Error);  // the call that runs, or the next one
  EXPECT_EQ(stream.next()->lora_ticket, 0u);
}

// A network that has taken other weights is one that was made of them, in every family and precision; and it takes nothing
// but what is touched.
TEST(WithWeights, IsTheNetworkThatIsMadeOfThem) {
  const c10::InferenceMode inference;
  const ArithmeticThreads one_thread(1);
  nlohmann::json skyreels = test::tiny_config(), magi;
  skyreels["inject_sample_info"] = true;
  magi["model_config"] = {{"num_layers", 2},          {"hidden_size", 64},        {"ffn_hidden_size", 128},
                          {"num_attention_heads", 4}, {"num_query_groups", 2},    {"kv_channels", 16},
                          {"caption_channels", 48},   {"caption_max_length", 60}, {"in_channels", 16}};
  magi["runtime_config"] = {{"cfg_number", 3}};
  const std::string layers = "videodit_blocks.layers.";
  struct Case {
    const char* family;
    nlohmann::json config;
    std::set<std::string> touched;
  };
  const Case cases[] = {
      {"wan",
       test::tiny_config(),
       {"blocks.0.self_attn.k.weight", "blocks.1.cross_attn.v.bias", "head.head.weight"}},
      {"skyreels", skyreels, {"blocks.1.ffn.2.weight", "fps_projection.0.weight", "blocks.0.modulation"}},
      {"magi",
       magi,
       {layers + "0.self_attention.linear_qkv.v.weight", layers + "1.mlp.linear_fc1.weight",
        layers + "0.ada_modulate_layer.proj.0.weight"}},
  };
  const at::ScalarType bf16 = at::kBFloat16;
  for (const Case& one : cases) {
    ModelPackage package;
    package.family = one.family;
    const Family& family = family_of(package);
    for (const Precision& precision : {Precision(at::kFloat), Precision(bf16, at::kFloat8_e4m3fn)}) {
      const auto build = [&](WeightMap weights) {
        return family.make_transformer(one.config, std::move(weights), precision, at::kCPU);
      };
      const WeightMap weights = random_weights(wanted_by(build));
      WeightMap other = weights;
      for (const std::string& name : one.touched) {
        ASSERT_TRUE(other.contains(name)) << name;
        other[name] = other[name].to(at::kFloat) * 3 + 0.01;
      }
      std::set<std::string> touched = one.touched;
      const auto before = build(weights), whole = build(other);
      before->slice_tokens(5);
      before->add_joined(touched);
      WeightMap torn = other;
      for (auto& [name, weight] : torn)
        if (weight.dim() == 2 && !touched.contains(name) && name.find("blocks") != std::string::npos &&
            name.find("ada_") == std::string::npos)
          weight = at::empty(weight.sizes(), at::TensorOptions(at::kMeta));
      const auto changed = before->with_weights(torn, touched);
      const at::Tensor features = draw_noise(3, 0, 0, {4, 48}, at::kCPU),
                       latent = draw_noise(4, 0, 0, {16, 3, 6, 8}, at::kCPU);
      const auto velocity = [&](const Transformer& network) {
        OwnKeys keys;
        return network.forward(latent, 0.5, 0, *network.condition(features), keys);
      };
      whole->slice_tokens(5);
      EXPECT_TRUE(velocity(*changed).equal(velocity(*whole))) << one.family;
      EXPECT_FALSE(velocity(*changed).equal(velocity(*before))) << one.family;
    }
  }
}

TEST(LoraList, IsReadAsItIsWritten) {
  const auto one = parse_loras("a.safetensors");
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].file, "a.safetensors");
  EXPECT_EQ(one[0].scale, 1);
  const auto several = parse_loras("/x/a.pt:0.5,b\\,c.safetensors:-1.25,d:e.gguf,f\\:2:+3");
  ASSERT_EQ(several.size(), 4u);
  EXPECT_EQ(several[0].file, "/x/a.pt");
  EXPECT_EQ(several[0].scale, 0.5);
  EXPECT_EQ(several[1].file, "b,c.safetensors");
  EXPECT_EQ(several[1].scale, -1.25);
  EXPECT_EQ(several[2].file, "d:e.gguf");
  EXPECT_EQ(several[3].file, "f:2");
  EXPECT_EQ(several[3].scale, 3);
  EXPECT_TRUE(parse_loras("").empty());
}

}  // namespace
}  // namespace flowcache
