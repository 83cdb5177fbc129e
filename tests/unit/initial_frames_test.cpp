// SPDX-License-Identifier: LGPL-2.1-or-later
// Streams that continue an image or a video, with tiny weights.
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "cache/registry.h"
#include "families/magi/magi_stream.h"
#include "samplers/factory.h"
#include "samplers/magi_timesteps.h"
#include "temp_folder.h"
#include "tiny_model.h"

using namespace flowcache;
using flowcache::test::message_of;

namespace {

std::shared_ptr<LoadedModel> model_of(const std::string& family) {
  const auto model = test::tiny_model();
  model->package.family = family;
  model->package.clean_context = family != "skyreels";
  model->package.sampler = {{"kind", "unipc"}, {"steps", 6}, {"shift", 5.0}};
  model->package.cache = {{"reuse", "none"}, {"kv", "window"}, {"history_chunks", 3}};
  return model;
}

StreamConfig from(const at::Tensor& latents) {
  StreamConfig config;
  config.prompt = "a slow green aurora";
  config.initial_latents = latents;
  return config;
}

at::Tensor latents(int64_t frames) {
  return draw_noise(7, 0, 0, {16, frames, 6, 8}, at::kCPU);
}

}  // namespace

TEST(InitialFrames, WholeChunksBecomeHistory) {
  const c10::InferenceMode inference;
  const auto model = model_of("wan-causal");
  Stream stream(model, from(latents(6)));
  Stream other(model, from(latents(6) * 0.5)), none(model, from({}));
  const auto first = stream.next();
  EXPECT_EQ(first->index, 0);
  EXPECT_EQ(first->latent.size(1), 3);
  EXPECT_EQ(stream.stats().kv_bytes, 3 * none.next()->kv_bytes);
  EXPECT_FALSE(first->latent.allclose(other.next()->latent, 1e-3, 1e-3));
  // After a reset the result is the same.
  stream.reset(0);
  EXPECT_TRUE(stream.next()->latent.equal(first->latent));
}

// If the prefix is what the stream itself made, the history is the same, so the stream continues in the same
// way.
TEST(InitialFrames, GoesOnFromTheStreamsOwnChunks) {
  const c10::InferenceMode inference;
  const auto model = model_of("wan-causal");
  Stream whole(model, from({}));
  const at::Tensor made = whole.next()->latent;
  const at::Tensor wanted = whole.next()->latent;
  Stream rest(model, from(made));
  rest.replace_noise([](int64_t chunk, int64_t draw) {
    return draw_noise(0, chunk + 1, draw, {16, 3, 6, 8}, at::kCPU);
  });
  EXPECT_TRUE(rest.next()->latent.allclose(wanted, 1e-5, 1e-5));
}

TEST(InitialFrames, SkyReelsKeepsTheFramesAndNoisesWhatTheNetworkSees) {
  const c10::InferenceMode inference;
  const auto model = model_of("skyreels");
  const at::Tensor prefix = latents(4);  // a chunk and a frame
  Stream stream(model, from(prefix));
  const auto chunk = stream.next();
  EXPECT_TRUE(chunk->latent.narrow(1, 0, 1).equal(prefix.narrow(1, 3, 1)));
  EXPECT_EQ(chunk->frames.size(0), 2);  // the prefix's own frame is not shown again
  model->package.sampler["prefix_noise"] = 0;
  Stream clean(model, from(prefix));
  EXPECT_FALSE(clean.next()->latent.equal(chunk->latent));
  Stream image(model, from(latents(1)));
  EXPECT_EQ(image.next()->frames.size(0), 3);  // an image is shown
}

// Denoises `chunk`, which stands at `frame`, as the published pipelines do, and runs it once more, clean, for its keys.
// `given` is the image of a model that keeps it as the first frame of its first chunk; undefined for none.
at::Tensor denoised_by_hand(const LoadedModel& model, KvStore& kv, const Condition& condition, int64_t chunk,
                            int64_t frame, const at::Tensor& given = {}) {
  const Transformer& network = *model.transformer;
  const int64_t frames = model.package.latent_frames_per_chunk;
  const auto with_image = [&](const at::Tensor& latent) {
    return given.defined() ? at::cat({given, latent.narrow(1, 1, frames - 1)}, 1) : latent;
  };
  const auto run = [&](const at::Tensor& latent, double timestep) {
    std::vector<double> timesteps(given.defined() ? static_cast<size_t>(frames) : 1, timestep);
    if (given.defined()) timesteps.front() = 0;
    const Embedded embedded = network.embed(latent, timesteps, frame);
    return network.head(embedded, network.blocks(embedded, embedded.tokens, condition, kv.view(chunk), 0,
                                                 network.shape().layers));
  };
  const auto sampler = make_sampler(model.package.sampler, 0);
  const auto state = sampler->begin_chunk();
  int64_t draw = 0;
  const auto noise = [&] { return draw_noise(0, chunk, draw++, {16, frames, 6, 8}, at::kCPU); };
  kv.admit(chunk, frame);
  at::Tensor latent = noise();
  for (int step = 0; step < sampler->table().steps(); ++step) {
    latent = with_image(latent);
    latent = state->step(latent, run(latent, sampler->table().timestep[step]), step, noise);
  }
  latent = with_image(latent);
  run(latent, 0);
  kv.finish(chunk);
  return latent;
}

KvStore cache_by_hand(const LoadedModel& model, int64_t chunks) {
  const TransformerShape& shape = model.transformer->shape();
  const int64_t tokens = 12 * model.package.latent_frames_per_chunk;
  return {{.layers = shape.layers,
           .kv_heads = shape.kv_heads,
           .head_dim = shape.head_dim,
           .tokens_per_frame = 12,
           .tokens_per_chunk = tokens},
          chunks * tokens,
          choose_kv("full").make()};
}

const nlohmann::json few_steps = {{"kind", "few_step"},
                                  {"steps", 4},
                                  {"denoising_step_list", {1000, 750, 500, 250}},
                                  {"timestep_shift", 5.0},
                                  {"warp_denoising_step", true}};

// Causal-Forcing's image to video, which is Self-Forcing's pipeline with one frame a block (pipeline/causal_inference.py): the
// image runs once at timestep 0, as frame 0; the frames after it are made one by one, from frame 1 on.
TEST(InitialFrames, AFrameWiseModelGoesOnFromAnImage) {
  const c10::InferenceMode inference;
  const auto model = model_of("wan-causal");
  model->package.latent_frames_per_chunk = model->package.frames_per_chunk = 1;
  model->package.cache["history_chunks"] = 8;
  model->package.sampler = few_steps;
  const at::Tensor image = latents(1);
  Stream stream(model, from(image));

  KvStore kv = cache_by_hand(*model, 8);
  const auto condition = model->transformer->condition(model->text->encode("a slow green aurora").embedding);
  kv.admit(-1, 0);
  model->transformer->forward(image, 0, 0, *condition, kv.view(-1));
  kv.finish(-1);
  for (int64_t chunk = 0; chunk < 3; ++chunk) {
    const at::Tensor wanted = denoised_by_hand(*model, kv, *condition, chunk, 1 + chunk);
    const auto made = stream.next();
    EXPECT_TRUE(made->latent.allclose(wanted, 1e-4, 1e-4)) << chunk;
    // The image is the first frame of the video, and comes out once.
    ASSERT_EQ(made->frames.size(0), chunk == 0 ? 2 : 1);
    if (chunk == 0) {
      EXPECT_TRUE(made->frames[0].equal(image.slice(0, 0, 3).select(1, 0).sigmoid()));
    }
  }
  stream.reset(0);
  EXPECT_EQ(stream.next()->frames.size(0), 2);
  // A video of several frames does not come out again.
  Stream longer(model, from(latents(2)));
  EXPECT_EQ(longer.next()->frames.size(0), 1);
}

// LongLive-2.0's (pipeline/causal_diffusion_inference.py, independent_first_frame): the image is the first frame of the first
// chunk, put back before every step, with timestep 0 whatever the others have.
TEST(InitialFrames, AModelThatWasTrainedForItKeepsTheImageInItsFirstChunk) {
  const c10::InferenceMode inference;
  const auto model = model_of("wan-causal");
  model->package.sampler["image"] = "first_frame";
  const at::Tensor image = latents(1);
  Stream stream(model, from(image));
  KvStore kv = cache_by_hand(*model, 8);
  const auto condition = model->transformer->condition(model->text->encode("a slow green aurora").embedding);
  for (int64_t chunk = 0; chunk < 2; ++chunk) {
    const at::Tensor wanted =
        denoised_by_hand(*model, kv, *condition, chunk, 3 * chunk, chunk == 0 ? image : at::Tensor());
    const auto made = stream.next();
    EXPECT_TRUE(made->latent.allclose(wanted, 1e-4, 1e-4)) << chunk;
    EXPECT_EQ(made->frames.size(0), 3);
    EXPECT_EQ(made->latent.narrow(1, 0, 1).equal(image), chunk == 0);
  }
  // Whole chunks run as for every model; what is neither is refused.
  EXPECT_NO_THROW(Stream(model, from(latents(3))));
  EXPECT_NE(message_of([&] { Stream(model, from(latents(2))); }).find("whole chunks of 3"),
            std::string::npos);
  model->package.sampler["image"] = "somewhere";
  EXPECT_NE(message_of([&] { Stream(model, from(image)); }).find("first_frame or whole_chunks"),
            std::string::npos);
}

TEST(InitialFrames, WhatDoesNotFitIsNamed) {
  const c10::InferenceMode inference;
  const auto model = model_of("wan-causal");
  const auto say = [&](const StreamConfig& config) { return message_of([&] { Stream(model, config); }); };
  EXPECT_NE(say(from(latents(4))).find("4 latent frames; this model wants whole chunks of 3"),
            std::string::npos);
  const std::string image = say(from(latents(1)));
  EXPECT_NE(image.find("an image is one latent frame"), std::string::npos) << image;
  EXPECT_NE(image.find("give a clip of 3 frames, or choose a model"), std::string::npos) << image;
  EXPECT_NE(say(from(at::zeros({16, 3, 6, 6}))).find("16 x 3 x 6 x 6"), std::string::npos);
  model->package.width = 64;
  model->package.height = 48;
  StreamConfig config;
  config.initial_frames = at::zeros({5, 3, 64, 64});
  EXPECT_NE(say(config).find("the prefix is 64x64, the video is 64x48: scale"), std::string::npos);
  config.initial_frames = at::zeros({5, 64, 48});
  EXPECT_NE(say(config).find("wanted frames x 3"), std::string::npos);
}

// A range of chunks is counted from the newest key that the cache holds. Compressed history is shorter than
// the chunks that it came from, and that must not move the range.
TEST(Magi, ARangeOfKeysCountsFromTheNewest) {
  class Cache final : public KvView {
   public:
    KeyValue append(int, const at::Tensor&, const KeyValue& own) override {
      return {at::cat({history, own.k}, 1), at::cat({-history, own.v}, 1)};
    }
    at::Tensor history = at::arange(5, at::kFloat).view({1, 5, 1});
  };
  Cache cache;
  const at::Tensor own = at::tensor({10.0F, 11.0F}).view({1, 2, 1});
  const auto seen = [&](int64_t tokens) {
    const KeyValue kv = NewestKeys(cache, tokens).append(0, own, {own, -own});
    EXPECT_TRUE(kv.v.equal(-kv.k));
    return kv.k.flatten();
  };
  EXPECT_TRUE(seen(4).equal(at::tensor({3.0F, 4.0F, 10.0F, 11.0F})));
  EXPECT_TRUE(seen(2).equal(own.flatten()));
  EXPECT_EQ(seen(100).size(0), 7);
}

TEST(Magi, TimeIntervalsOfTheTwelveStepGrid) {
  for (const char* shortcut : {"8,16,16", "16,16,8"}) {
    const MagiTimes times = magi_timesteps(12, {.shortcut = shortcut});
    for (int i = 0; i < 12; ++i)
      EXPECT_EQ(magi_time_interval(times.t[i].item<double>(), 12, shortcut), times.time_interval[i])
          << shortcut << i;
  }
  EXPECT_EQ(magi_time_interval(0.5, 64, "8,16,16"), 1);
}

TEST(Magi, ConfigOfPassesIsChecked) {
  const auto say = [](const nlohmann::json& config) {
    return message_of([&] { MagiPasses::from_json(config); });
  };
  EXPECT_EQ(say(nlohmann::json::object()), "");
  EXPECT_NE(say({{"runtime_config", {{"cfg_number", 2}}}}).find("cfg_number 2"), std::string::npos);
  EXPECT_NE(say({{"runtime_config", {{"text_scales", {1.0}}}}}).find("as many entries"), std::string::npos);
  EXPECT_NE(say({{"runtime_config", {{"noise2clean_kvrange", {0}}}}}).find("noise2clean_kvrange holds 0"),
            std::string::npos);
}
