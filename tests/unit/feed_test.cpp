// SPDX-License-Identifier: LGPL-2.1-or-later
// Streams that repaint what they are fed with.
#include "stream/feed.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "cache/registry.h"
#include "fed_model.h"
#include "samplers/factory.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

using test::fed_model;
using test::frames;

StreamConfig stream_config(const std::string& cache, int lag = 0) {
  return {.prompt = "fire", .seed = 5, .cache = cache, .lag = lag};
}

// Feeds `count` chunks, as many ahead as the stream has in flight, and returns what comes out.
std::vector<std::shared_ptr<const Chunk>> repaint(Stream& stream, int count, double strength) {
  std::vector<std::shared_ptr<const Chunk>> all;
  const int ahead = stream.stats().chunks_in_flight;
  int fed = 0;
  while (static_cast<int>(all.size()) < count) {
    for (; fed < count && fed < static_cast<int>(all.size()) + ahead; ++fed)
      EXPECT_EQ(stream.feed().give(frames(stream.feed().frames_wanted(), fed), strength, false), fed);
    all.push_back(stream.next());
  }
  return all;
}

class EveryFedLag : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Lags, EveryFedLag, testing::Values(8, 2, 3, 1));

TEST(Feed, StrengthNamesTheStep) {
  EXPECT_EQ(begin_step(1, 8), 0);
  EXPECT_EQ(begin_step(0, 8), 8);
  EXPECT_EQ(begin_step(0.5, 8), 4);
  EXPECT_EQ(begin_step(0.5, 4), 2);
  EXPECT_EQ(begin_step(0.05, 8), 8) << "less than half a step";
  EXPECT_EQ(begin_step(0.07, 8), 7);
  EXPECT_EQ(begin_step(0.95, 4), 1) << "the frames count";
  EXPECT_EQ(begin_step(0.999, 24), 1);
  EXPECT_EQ(begin_step(0.999, 2), 1);
  EXPECT_EQ(begin_step(0.5, 1), 0) << "there is nothing between";
  EXPECT_EQ(begin_step(0.4, 1), 1);
  for (const double bad : {-0.01, 1.01, double(NAN), double(INFINITY)})
    EXPECT_THROW(check_strength(bad), Error) << bad;
}

TEST_P(EveryFedLag, StrengthOneIsTheSourcesVideo) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  for (const std::string cache : {"none", "flowcache", "ramp:computed=4", "xchunk", "magcache"}) {
    Stream plain(model, stream_config(cache, GetParam())), fed(model, stream_config(cache, GetParam()));
    const auto chunks = repaint(fed, 5, 1);
    for (const auto& chunk : chunks) {
      const auto wanted = plain.next();
      ASSERT_TRUE(chunk->frames.equal(wanted->frames)) << cache << " chunk " << chunk->index;
      EXPECT_EQ(chunk->decisions, wanted->decisions) << cache;
    }
  }
}

TEST_P(EveryFedLag, ARehearsalLeavesNoTrace) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  for (const std::string cache : {"none", "auto"}) {
    Stream rehearsed(model, stream_config(cache, GetParam())), plain(model, stream_config(cache, GetParam()));
    for (Stream* stream : {&rehearsed, &plain})
      if (cache == "auto")
        stream->deadline(3600);  // so that both compute as many steps, however fast the machine is
    for (const double strength : {0.0, 0.5, 1.0}) EXPECT_GT(rehearsed.rehearse(strength), 0);
    const auto made = repaint(rehearsed, 3, 0.5), wanted = repaint(plain, 3, 0.5);
    for (size_t i = 0; i < made.size(); ++i) ASSERT_TRUE(made[i]->frames.equal(wanted[i]->frames)) << cache;
    EXPECT_THROW(rehearsed.rehearse(1), Error) << "it has begun";
    rehearsed.reset(5);
    EXPECT_GT(rehearsed.rehearse(1), 0) << "it begins anew";
  }
}

// Takes 5 ms more for each run.
class SlowTransformer final : public test::WrappedTransformer {
 public:
  using WrappedTransformer::WrappedTransformer;
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps, int64_t first) const override {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return WrappedTransformer::embed(latent, timesteps, first);
  }
};

TEST(Feeding, ARehearsalExpectsAllStepsOrTheDeadline) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  test::wrap_transformer<SlowTransformer>(*model);
  Stream all(model, stream_config("none")), governed(model, stream_config("auto"));
  EXPECT_GE(all.rehearse(1), 8 * 0.005);
  EXPECT_GE(all.rehearse(0.5), 4 * 0.005);
  EXPECT_THROW(all.rehearse(1.5), Error);
  governed.deadline(0.01);
  EXPECT_EQ(governed.rehearse(1), 0.01);
  all.cancel();
  EXPECT_THROW(all.rehearse(1), Error);
  EXPECT_GE(all.rehearse(1), 8 * 0.005) << "a cancellation is answered once";
}

TEST_P(EveryFedLag, StrengthZeroIsWhatTheCodecSees) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  model->package.seam_fade_frames = 2;
  Stream stream(model, stream_config("flowcache", GetParam()));
  std::vector<at::Tensor> shown;
  for (const auto& chunk : repaint(stream, 5, 0)) {
    EXPECT_TRUE(chunk->decisions.empty());
    EXPECT_EQ(chunk->strength, 0);
    shown.push_back(chunk->frames);
  }
  std::vector<at::Tensor> clip = {frames(2, 0)};
  for (int i = 1; i < 5; ++i) clip.push_back(frames(3, i));
  const at::Tensor latents = model->encoder->encode(at::cat(clip));
  EXPECT_TRUE(at::cat(shown).equal(model->decoder->decode(latents, *model->decoder->open())));
  EXPECT_EQ(stream.stats().steps_computed, 0u);
}

// What a later chunk attends is what was shown: after chunks of strength 0 it is the history of a prefix of the same frames.
TEST(Feed, HistoryHoldsWhatWasShown) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  Stream fed(model, stream_config("none"));
  repaint(fed, 2, 0);
  const at::Tensor own = fed.next()->latent;
  StreamConfig with_prefix = stream_config("none");
  with_prefix.initial_latents = model->encoder->encode(at::cat({frames(2, 0), frames(3, 1)})).transpose(0, 1);
  Stream prefixed(model, with_prefix);
  prefixed.replace_noise([](int64_t chunk, int64_t draw) {
    return draw_noise(5, chunk + 2, draw, {16, 3, 6, 8}, at::kCPU);
  });
  EXPECT_TRUE(own.allclose(prefixed.next()->latent, 1e-5, 1e-5));
  Stream unfed(model, stream_config("none"));
  for (int i = 0; i < 2; ++i) unfed.next();
  EXPECT_FALSE(own.allclose(unfed.next()->latent, 1e-3, 1e-3));
}

nlohmann::json section_of(const std::string& sampler) {
  if (sampler == "few_step")
    return {{"kind", sampler}, {"denoising_step_list", {1000, 750, 500, 250}}, {"timestep_shift", 5.0}};
  return {{"kind", sampler}, {"steps", 8}, {"shift", 3.0}};
}

// The way of each sampler from the middle of its table, written out.
class EveryFedSampler : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Samplers, EveryFedSampler,
                         testing::Values("flow_euler", "few_step", "unipc", "magi"));

TEST_P(EveryFedSampler, BeginsAtTheNoiseOfItsStep) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  const std::string kind = GetParam();
  model->package.sampler = section_of(kind);
  const auto sampler = make_sampler(model->package.sampler, 0);
  const StepTable& table = sampler->table();
  const int steps = table.steps(), first = begin_step(0.5, steps);
  ASSERT_EQ(first, steps / 2);
  Stream stream(model, stream_config("none"));
  const at::Tensor noise = draw_noise(5, 0, 0, {16, 3, 6, 8}, at::kCPU);
  std::vector<at::Tensor> velocities;
  std::vector<StepInfo> seen;
  stream.watch_computed([&](const ChunkStep& step, const at::Tensor& velocity) {
    velocities.push_back(velocity.clone());
    seen.push_back(step.info);
  });
  const at::Tensor clip = frames(2, 3);
  stream.feed().give(clip, 0.5, false);
  const at::Tensor made = stream.next()->latent;
  ASSERT_EQ(static_cast<int>(velocities.size()), steps - first);
  EXPECT_EQ(seen.front().step, 0);
  EXPECT_EQ(seen.front().steps, steps - first);
  EXPECT_EQ(seen.front().left_out, first);
  EXPECT_EQ(seen.front().timestep, table.timestep[first]);
  EXPECT_EQ(seen.back().sigma_next, 0);
  const at::Tensor clean = model->encoder->encode(clip).transpose(0, 1);
  const auto sigma = [&](int i) { return table.sigma[static_cast<size_t>(i)]; };
  at::Tensor x = clean * (1 - sigma(first)) + noise * sigma(first);
  if (kind == "unipc") {
    // Independent of the sampler's class: the first prediction from a fresh start is that of the first order.
    const auto lambda = [&](int i) { return std::log(1 - sigma(i)) - std::log(sigma(i)); };
    const at::Tensor x0 = x - sigma(first) * velocities[0];
    const double h = lambda(first + 1) - lambda(first);
    const at::Tensor second =
        sigma(first + 1) / sigma(first) * x - (1 - sigma(first + 1)) * std::expm1(-h) * x0;
    const auto condition = model->transformer->condition(model->text->encode("fire").embedding);
    OwnKeys own;
    EXPECT_TRUE(model->transformer->forward(second, table.timestep[first + 1], 0, *condition, own)
                    .allclose(velocities[1], 1e-3, 1e-3));
    return;
  }
  for (int i = first; i < steps; ++i) {
    const at::Tensor& v = velocities[static_cast<size_t>(i - first)];
    if (kind == "few_step")
      x = i + 1 == steps ? x - sigma(i) * v
                         : (1 - sigma(i + 1)) * (x - sigma(i) * v) +
                               sigma(i + 1) * draw_noise(5, 0, i - first + 1, {16, 3, 6, 8}, at::kCPU);
    else if (kind == "magi")
      x = x + v * (sigma(i) - sigma(i + 1));
    else
      x = x + v * (sigma(i + 1) - sigma(i));
  }
  EXPECT_TRUE(made.allclose(x, 1e-4, 1e-4));
}

// With several chunks in flight each goes its own way from its own step on, by a sampler's state of its own.
TEST_P(EveryFedSampler, ChunksInFlightEachBeginInTheMiddle) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  const std::string kind = GetParam();
  model->package.sampler = section_of(kind);
  const auto sampler = make_sampler(model->package.sampler, 0);
  const int steps = sampler->table().steps();
  const std::vector<double> strengths = {0.5, 1, 0.25, 0.75, 0, 0.5};
  Stream stream(model, stream_config("none", steps / 4));
  ASSERT_EQ(stream.stats().chunks_in_flight, 4);
  std::vector<std::vector<at::Tensor>> velocities(strengths.size());
  stream.watch_computed([&](const ChunkStep& step, const at::Tensor& velocity) {
    const auto chunk = static_cast<size_t>(step.info.chunk);
    if (chunk >= strengths.size()) return;
    const int own = begin_step(strengths[chunk], steps) + static_cast<int>(velocities[chunk].size());
    EXPECT_EQ(step.info.timestep, sampler->table().timestep[static_cast<size_t>(own)]) << chunk;
    velocities[chunk].push_back(velocity.clone());
  });
  std::vector<at::Tensor> clip, made;
  while (made.size() < strengths.size()) {
    while (clip.size() < std::min(strengths.size(), made.size() + 4)) {
      clip.push_back(frames(stream.feed().frames_wanted(), static_cast<int64_t>(clip.size())));
      stream.feed().give(clip.back(), strengths[clip.size() - 1], false);
    }
    made.push_back(stream.next()->latent);
  }
  const at::Tensor clean = model->encoder->encode(at::cat(clip)).transpose(0, 1);
  for (size_t chunk = 0; chunk < strengths.size(); ++chunk) {
    const int first = begin_step(strengths[chunk], steps);
    ASSERT_EQ(static_cast<int>(velocities[chunk].size()), steps - first) << chunk;
    const auto noise = [&](int64_t draw) {
      return draw_noise(5, static_cast<int64_t>(chunk), draw, {16, 3, 6, 8}, at::kCPU);
    };
    const double sigma = sampler->table().sigma[static_cast<size_t>(first)];
    at::Tensor x = noise(0);
    if (first > 0) x = clean.narrow(1, 3 * static_cast<int64_t>(chunk), 3) * (1 - sigma) + x * sigma;
    const auto state = sampler->begin_chunk();
    int64_t draw = 0;
    for (int i = first; i < steps; ++i)
      x = state->step(x, velocities[chunk][static_cast<size_t>(i - first)], i, [&] { return noise(++draw); });
    EXPECT_TRUE(made[chunk].allclose(x, 1e-4, 1e-4)) << "chunk " << chunk;
  }
}

// R1 to R8, as far as they show in decisions: a fed chunk's first step is computed, the last one where the policy says so,
// and with ε = 0 nothing is reused.
TEST(Feed, PoliciesHoldTheirRulesWithFewerSteps) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  for (const bool clean : {true, false})
    for (const auto& policy : reuse_policies()) {
      StreamConfig config = stream_config(policy.name);
      config.clean_context = clean ? 1 : 0;
      Stream stream(model, config);
      bool reused = false;
      for (const double strength : {0.6, 0.9, 0.3, 1.0, 0.0, 0.13, 0.6, 0.6}) {
        stream.feed().give(frames(stream.feed().frames_wanted(), 4), strength, false);
        const auto chunk = stream.next();
        const auto& made = chunk->decisions;
        ASSERT_EQ(static_cast<long>(made.size()), std::lround(strength * 8)) << policy.name;
        if (made.empty()) continue;
        if (policy.name != "xchunk") {
          EXPECT_EQ(made.front(), 1) << policy.name << " " << strength;
        }
        if (!clean) {
          EXPECT_EQ(made.back(), 1) << policy.name << ": its keys become history";
        }
        for (const uint8_t one : made) reused |= one == 0;
        EXPECT_TRUE(chunk->latent.isfinite().all().item<bool>()) << policy.name;
      }
      if (policy.name == "ramp") {
        EXPECT_TRUE(reused);
      }
      config.threshold = 0;
      if (policy.name == "auto") continue;
      Stream never(model, config), none(model, stream_config("none"));
      if (!clean) continue;
      for (const double strength : {0.6, 0.3, 0.9}) {
        never.feed().give(frames(never.feed().frames_wanted(), 4), strength, false);
        none.feed().give(frames(none.feed().frames_wanted(), 4), strength, false);
        EXPECT_TRUE(never.next()->latent.equal(none.next()->latent)) << policy.name;
      }
    }
}

TEST(Feed, KvPoliciesTakeFedChunks) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  for (const auto& policy : kv_policies()) {
    StreamConfig config = stream_config("none");
    config.kv_cache = policy.name;
    Stream stream(model, config);
    if (policy.name == "full") continue;  // it ends
    for (const double strength : {0.0, 0.4, 1.0, 0.0, 0.4}) {
      stream.feed().give(frames(stream.feed().frames_wanted(), 4), strength, false);
      EXPECT_TRUE(stream.next()->latent.isfinite().all().item<bool>()) << policy.name;
    }
  }
}

// With several chunks in flight a fed chunk waits for its step. Until then younger ones attend it as it was fed; its slots
// have been written, whatever they held before.
TEST(Feed, ChunksInFlightAttendAFedChunkFromItsAdmissionOn) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  const auto run = [&](int64_t other_picture) {
    Stream stream(model, stream_config("none", 2));             // four in flight
    stream.feed().give(frames(2, other_picture), 0.13, false);  // its only step is the last one
    for (int i = 1; i < 4; ++i) stream.feed().give(frames(3, i), 1, false);
    std::vector<at::Tensor> first_velocity_of_chunk_1;
    stream.watch_computed([&](const ChunkStep& step, const at::Tensor& velocity) {
      if (step.info.chunk == 1 && step.info.step == 0) first_velocity_of_chunk_1.push_back(velocity.clone());
    });
    stream.next();
    return first_velocity_of_chunk_1.at(0);
  };
  const at::Tensor one = run(0);
  EXPECT_TRUE(one.equal(run(0)));
  EXPECT_FALSE(one.allclose(run(7), 1e-4, 1e-4))
      << "chunk 1 began before chunk 0's step and did not see its picture";
}

TEST(Feed, ResetAndSeedBehaveAsUnfed) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  Stream stream(model, stream_config("ramp:computed=4"));
  std::vector<at::Tensor> first;
  for (const auto& chunk : repaint(stream, 3, 0.5)) first.push_back(chunk->latent);
  stream.feed().give(frames(3, 9), 0.5, false);  // waits, and is forgotten
  stream.reset(5);
  EXPECT_EQ(stream.feed().frames_wanted(), 2);
  size_t i = 0;
  for (const auto& chunk : repaint(stream, 3, 0.5)) EXPECT_TRUE(chunk->latent.equal(first[i++]));
}

TEST(Feed, GapsAndRestartsBeginTheEncoderAnew) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  Stream stream(model, stream_config("none"));
  stream.next();  // unfed
  EXPECT_EQ(stream.feed().frames_wanted(), 3) << "the decoder is past its first frames";
  const at::Tensor clip = frames(3, 1);
  stream.feed().give(clip, 0, false);
  // As if the first frame had stood still before.
  const at::Tensor wanted = model->encoder->encode(at::cat({clip.narrow(0, 0, 1), clip})).narrow(0, 3, 2);
  EXPECT_TRUE(stream.next()->latent.transpose(0, 1).narrow(0, 1, 2).equal(wanted));
  const at::Tensor other = frames(3, 2);
  stream.feed().give(other, 0, true);
  const at::Tensor restarted = stream.next()->latent;
  EXPECT_TRUE(restarted[3][0].equal(at::avg_pool2d(other.narrow(0, 0, 1), {8, 8})[0][0]))
      << "not the shot before";
  stream.feed().give(clip, 0, false);
  EXPECT_TRUE(stream.next()->latent[3][0].equal(at::avg_pool2d(other.narrow(0, 2, 1), {8, 8})[0][0]))
      << "goes on";
}

TEST(Feed, CancelledStreamsLoseNoPicture) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  Stream whole(model, stream_config("none")), pieces(model, stream_config("none"));
  const auto wanted = repaint(whole, 3, 0.5);
  for (int i = 0; i < 3; ++i) {
    pieces.feed().give(frames(pieces.feed().frames_wanted(), i), 0.5, false);
    pieces.cancel();
    EXPECT_THROW(pieces.next(), Error);
    EXPECT_TRUE(pieces.next()->latent.equal(wanted[static_cast<size_t>(i)]->latent));
  }
}

TEST(Feed, FedBesideTheStepsOfTheChunkBefore) {
  const auto model = fed_model();
  Stream alone(model, stream_config("none")), beside(model, stream_config("none"));
  std::vector<at::Tensor> wanted;
  {
    const c10::InferenceMode inference;
    for (const auto& chunk : repaint(alone, 4, 0.5)) wanted.push_back(chunk->latent);
    beside.feed().give(frames(2, 0), 0.5, false);
  }
  for (int i = 0; i < 4; ++i) {
    std::thread giver([&] {
      const c10::InferenceMode inference;
      if (i < 3) beside.feed().give(frames(3, i + 1), 0.5, false);
    });
    const auto chunk = beside.next();
    giver.join();
    const c10::InferenceMode inference;
    EXPECT_TRUE(chunk->latent.equal(wanted[static_cast<size_t>(i)])) << i;
  }
}

// The formula of StreamDiffusionV2's compute_noise_scale_and_step(), by numbers worked out by hand.
TEST(Feed, StrengthFollowsTheMotion) {
  const c10::InferenceMode inference;
  const at::Tensor still = at::full({3, 3, 8, 8}, 0.5), other = at::full({3, 3, 8, 8}, 0.55);
  const at::Tensor last = still.narrow(0, 0, 1);
  EXPECT_EQ(strength_in_motion(0.8, other, {}, 1), 0.8) << "the first chunk is as given";
  EXPECT_NEAR(strength_in_motion(0.8, still, last, 0.7), 0.79, 1e-12);
  // A change of 0.05 is half of what counts as fast; faster than fast is no more than fast.
  EXPECT_NEAR(strength_in_motion(0.8, other, last, 0.8), 0.755, 1e-6);
  EXPECT_NEAR(strength_in_motion(0.8, at::zeros_like(still), last, 0.8), 0.71, 1e-6);
  // The fastest pair counts, wherever it is. A change in a quarter of the pixels is half as large as one in all.
  EXPECT_NEAR(strength_in_motion(0.8, at::cat({still, other}), last, 0.8), 0.755, 1e-6);
  at::Tensor part = still.clone();
  part.slice(3, 0, 2) += 0.05;
  EXPECT_NEAR(strength_in_motion(0.8, part, last, 0.8), 0.7775, 1e-6);
  EXPECT_EQ(strength_in_motion(0, other, last, 0), 0);
}

TEST(Feed, AStreamFollowsTheMotionIfItIsAskedTo) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  Stream stream(model, stream_config("none"));
  const at::Tensor clip = at::full({3, 3, 48, 64}, 0.5);
  stream.feed().give(clip.narrow(0, 0, 2), 0.8, false, true);
  stream.feed().give(clip + 0.05, 0.8, false, true);
  EXPECT_NEAR(stream.next()->strength, 0.8, 1e-12);
  EXPECT_NEAR(stream.next()->strength, 0.9 * 0.75 + 0.1 * 0.8, 1e-6);
  stream.feed().give(clip + 0.3, 0.8, true, true);  // another shot is no motion
  EXPECT_NEAR(stream.next()->strength, 0.8, 1e-12);
  stream.feed().give(clip, 0.7, false, false);
  EXPECT_EQ(stream.next()->strength, 0.7) << "not asked to";
  stream.feed().give(clip, 0.8, false, true);
  EXPECT_NEAR(stream.next()->strength, 0.9 * 0.8 + 0.1 * 0.7, 1e-12) << "smooth from what was shown";
  const auto chunk = [&] {
    stream.feed().give(stream.feed().frames_wanted() == 2 ? clip.narrow(0, 0, 2) : clip * 0, 0.9, false,
                       true);
    return stream.next();
  };
  stream.reset(5);
  EXPECT_NEAR(chunk()->strength, 0.9, 1e-12) << "a stream that begins anew knows no motion";
  // It is the steps that become fewer: of 8 steps 7 run with 0.9, 6 with 0.81.
  const auto fast = chunk();
  EXPECT_NEAR(fast->strength, 0.81, 1e-6);
  EXPECT_EQ(fast->decisions.size(), 6u);
}

TEST(Feed, RefusesWhatDoesNotFitAndChangesNothing) {
  const c10::InferenceMode inference;
  const auto model = fed_model();
  Stream stream(model, stream_config("none"));
  const auto refused = [&](const at::Tensor& given, double strength, const char* word) {
    try {
      stream.feed().give(given, strength, false);
      ADD_FAILURE() << word;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refused(frames(3, 0), 0.5, "takes 2");
  refused(frames(2, 0), NAN, "strength=nan");
  refused(frames(2, 0), 2, "outside 0..1");
  refused(frames(2, 0).narrow(2, 0, 32), 0.5, "scale them");
  stream.feed().give(frames(2, 0), 0.5, false);
  stream.feed().give(frames(3, 1), 0.5, false);
  refused(frames(3, 2), 0.5, "wait already");
  Stream other(model, stream_config("none"));
  const auto wanted = repaint(other, 2, 0.5);
  for (const auto& one : wanted) EXPECT_TRUE(stream.next()->latent.equal(one->latent));
  const auto without = test::tiny_model();
  without->package.decoder = {{"kind", "none"}};
  Stream blind(without, stream_config("none"));
  EXPECT_THROW(blind.feed().frames_wanted(), Error);
}

}  // namespace
}  // namespace flowcache
