// SPDX-License-Identifier: LGPL-2.1-or-later
// Properties that hold for a stream of any model.
#include "stream/stream.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "base/error.h"
#include "cache/registry.h"
#include "tiny_model.h"

namespace flowcache {
namespace {

using test::tiny_model;

StreamConfig stream_config(const std::string& cache, double threshold = -1, int lag = 0) {
  return {.prompt = "fire", .seed = 5, .cache = cache, .threshold = threshold, .lag = lag};
}

std::vector<at::Tensor> latents(Stream& stream, int chunks) {
  std::vector<at::Tensor> all;
  for (int i = 0; i < chunks; ++i) all.push_back(stream.next()->latent);
  return all;
}

std::vector<at::Tensor> latents(const std::shared_ptr<const LoadedModel>& model, const StreamConfig& c,
                                int chunks) {
  Stream stream(model, c);
  return latents(stream, chunks);
}

bool identical(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!a[i].equal(b[i])) return false;
  return a.size() == b.size();
}

TEST(Sizes, NoiseKeysAndFramesFollow) {
  const auto model = tiny_model();
  const auto sized = [&](int64_t width, int64_t height) {
    StreamConfig c = stream_config("none");
    c.width = width;
    c.height = height;
    return c;
  };
  Stream native(model, sized(0, 0)), named(model, sized(64, 48)), wide(model, sized(96, 64));
  EXPECT_TRUE(identical(latents(native, 3), latents(named, 3)));
  const auto chunk = wide.next();
  EXPECT_EQ(chunk->latent.sizes(), (std::vector<int64_t>{16, 3, 8, 12}));
  EXPECT_EQ(wide.stats().kv_budget, native.stats().kv_budget * 2) << "24 tokens a frame instead of 12";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(wide.next()->latent.isfinite().all().item<bool>());
  wide.reset(5);
  EXPECT_TRUE(at::equal(wide.next()->latent, chunk->latent));
  EXPECT_THROW(Stream(model, sized(60, 48)), Error) << "no multiple of 16";
  EXPECT_THROW(Stream(model, sized(256, 48)), Error) << "too large";
  StreamConfig tight = sized(96, 64);
  tight.kv_budget = native.stats().kv_budget / 2;  // a chunk of the native size
  try {
    Stream refused(model, tight);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    EXPECT_NE(std::string(error.what()).find("smaller picture"), std::string::npos) << error.what();
  }
}

class EveryLag : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Lags, EveryLag, testing::Values(8, 2, 3, 1));

TEST_P(EveryLag, ThresholdZeroIsBitIdenticalToNoCaching) {
  const auto model = tiny_model();
  const auto plain = latents(model, stream_config("none", -1, GetParam()), 5);
  for (const auto& policy : reuse_policies()) {
    Stream stream(model, stream_config(policy.name, 0, GetParam()));
    EXPECT_TRUE(identical(plain, latents(stream, 5))) << policy.name;
    EXPECT_EQ(stream.stats().steps_reused, 0u) << policy.name;
  }
}

TEST_P(EveryLag, SameSeedSameVideoOtherSeedOtherVideo) {
  const auto model = tiny_model();
  const auto one = latents(model, stream_config("flowcache", 0.3, GetParam()), 5);
  EXPECT_TRUE(identical(one, latents(model, stream_config("flowcache", 0.3, GetParam()), 5)));
  StreamConfig other = stream_config("flowcache", 0.3, GetParam());
  other.seed = 6;
  EXPECT_FALSE(identical(one, latents(model, other, 5)));
}

TEST_P(EveryLag, StreamsBesideItChangeNothing) {
  const auto model = tiny_model();
  for (const auto& policy : reuse_policies()) {
    if (policy.name == "auto") continue;  // its computed steps depend on time
    const StreamConfig same = stream_config(policy.name, -1, GetParam());
    const auto alone = latents(model, same, 3);
    std::vector<at::Tensor> beside[2];
    std::thread threads[2];
    for (int i = 0; i < 2; ++i) threads[i] = std::thread([&, i] { beside[i] = latents(model, same, 3); });
    for (auto& thread : threads) thread.join();
    EXPECT_TRUE(identical(alone, beside[0])) << policy.name;
    EXPECT_TRUE(identical(alone, beside[1])) << policy.name;
  }
}

TEST_P(EveryLag, CancelLosesNothing) {
  const auto model = tiny_model();
  const auto whole = latents(model, stream_config("flowcache", 0.3, GetParam()), 4);
  Stream stream(model, stream_config("flowcache", 0.3, GetParam()));
  std::vector<at::Tensor> pieces;
  while (pieces.size() < whole.size()) {
    stream.cancel();
    EXPECT_THROW(stream.next(), Error);
    pieces.push_back(stream.next()->latent);
  }
  EXPECT_TRUE(identical(whole, pieces));
}

TEST_P(EveryLag, ResetReplaysFromTheStart) {
  const auto model = tiny_model();
  Stream stream(model, stream_config("flowcache", 0.3, GetParam()));
  const auto first = latents(stream, 4);
  stream.reset(5);
  EXPECT_EQ(stream.stats().chunks, 0u);
  EXPECT_TRUE(identical(first, latents(stream, 4)));
}

TEST_P(EveryLag, ResetReplaysFromTheStartWhateverThePolicy) {
  const auto model = tiny_model();
  for (const auto& policy : reuse_policies()) {
    if (policy.name == "auto") continue;  // its computed steps depend on time
    Stream stream(model, stream_config(policy.name, -1, GetParam()));
    const auto first = latents(stream, 3);
    stream.reset(5);
    EXPECT_TRUE(identical(first, latents(stream, 3))) << policy.name;
  }
}

TEST_P(EveryLag, CountsAddUpAndTheRulesHold) {
  Stream stream(tiny_model(), stream_config("flowcache:warmup=2", 10, GetParam()));
  for (int64_t i = 0; i < 5; ++i) {
    const auto chunk = stream.next();
    EXPECT_EQ(chunk->index, i);
    ASSERT_EQ(chunk->decisions.size(), 8u);
    EXPECT_EQ(chunk->decisions[0], 1) << "warm-up";
    EXPECT_EQ(chunk->decisions[1], 1) << "warm-up";
    EXPECT_EQ(chunk->decisions[7], 1) << "the last step is computed";
  }
  const StreamStats stats = stream.stats();
  EXPECT_GT(stats.steps_reused, 0u) << "a threshold of 10 reuses what it may";
  EXPECT_GE(stats.steps_computed + stats.steps_reused, 5u * 8u);
  EXPECT_GE(stats.steps_computed, stats.forced_computes);
}

TEST_P(EveryLag, HistoryStaysWithinItsBudgetAndTheBufferDoesNotGrow) {
  for (const char* kv : {"window", "flowcache"}) {
    StreamConfig c = stream_config("none", -1, GetParam());
    c.kv_cache = kv;
    Stream stream(tiny_model(), c);
    const uint64_t allocated = stream.stats().kv_allocated;
    for (int i = 0; i < 8; ++i) {
      stream.next();
      EXPECT_LE(stream.stats().kv_bytes, stream.stats().kv_budget) << kv;
      EXPECT_EQ(stream.stats().kv_allocated, allocated) << kv;
    }
    EXPECT_EQ(stream.stats().kv_bytes, stream.stats().kv_budget) << kv << " fills its budget";
  }
}

// LibTorch may serve the rest of the program, too.
TEST(Stream, LeavesTheProgramsNumberOfThreadsAlone) {
  const auto model = tiny_model();
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  Stream stream(model, stream_config("none"));  // one thread
  EXPECT_EQ(at::get_num_threads(), 3);
  int inside = 0;
  stream.watch_computed([&](const ChunkStep&, const at::Tensor&) { inside = at::get_num_threads(); });
  stream.next();
  EXPECT_EQ(inside, 1);
  EXPECT_EQ(at::get_num_threads(), 3);
  std::thread([&] { inside = at::get_num_threads(); }).join();
  EXPECT_EQ(inside, 3) << "of threads that begin later";
  at::set_num_threads(before);
}

TEST(Stream, ABudgetThatHoldsEverythingEqualsFull) {
  const auto model = tiny_model();
  StreamConfig c = stream_config("none");
  c.kv_budget = 5 * 2 * 2 * 64 * 36 * 4;  // five chunks
  c.kv_cache = "full";
  const auto full = latents(model, c, 5);
  for (const char* kv : {"window", "flowcache"}) {
    c.kv_cache = kv;
    EXPECT_TRUE(identical(full, latents(model, c, 5))) << kv;
  }
}

TEST(Stream, FullEndsWithASentenceWhenTheBudgetIsFull) {
  StreamConfig c = stream_config("none");
  c.kv_cache = "full";
  Stream stream(tiny_model(), c);  // two chunks of history
  for (int i = 0; i < 3; ++i) stream.next();
  try {
    stream.next();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ENDED);
    EXPECT_NE(std::string(error.what()).find("kv"), std::string::npos) << error.what();
  }
  stream.reset(1);
  EXPECT_NO_THROW(stream.next());
}

TEST(Stream, APromptChangesTheChunkItIsDueForAndNotTheOneBefore) {
  const auto model = tiny_model();
  const auto plain = latents(model, stream_config("none"), 3);
  Stream stream(model, stream_config("none"));
  const uint64_t ticket = stream.prompts().change("ice", 2, 0);
  for (int i = 0; i < 2; ++i) {
    const auto chunk = stream.next();
    EXPECT_TRUE(chunk->latent.equal(plain[i]));
    EXPECT_EQ(chunk->prompt_ticket, 0u);
  }
  const auto chunk = stream.next();
  EXPECT_FALSE(chunk->latent.equal(plain[2]));
  EXPECT_EQ(chunk->prompt_ticket, ticket);
}

TEST(Stream, GuidanceIsASecondBranchWithItsOwnHistory) {
  const auto model = tiny_model();
  StreamConfig c = stream_config("none");
  const auto off = latents(model, c, 3);
  c.guidance = 3;
  c.negative_prompt = "ice";
  Stream guided(model, c);
  EXPECT_FALSE(identical(off, latents(guided, 3)));
  Stream plain(model, stream_config("none"));
  EXPECT_EQ(guided.stats().kv_allocated, 2 * plain.stats().kv_allocated);
  EXPECT_THROW(plain.tune(-1, 3), Error) << "guidance cannot be switched on later";
  EXPECT_NO_THROW(guided.tune(-1, 2));
  // Where a stream gives no negative prompt, that of model.json holds.
  const auto with_ice = latents(model, c, 2);
  const auto other = tiny_model();
  other->package.negative_prompt = "ice";
  c.negative_prompt = "";
  EXPECT_TRUE(identical(latents(other, c, 2), with_ice));
  EXPECT_FALSE(identical(latents(model, c, 2), with_ice));
  // With the same prompt in both branches guidance changes nothing.
  c.negative_prompt = c.prompt;
  const auto same = latents(model, c, 3);
  for (size_t i = 0; i < same.size(); ++i) EXPECT_TRUE(at::allclose(same[i], off[i], 1e-4, 1e-4));
}

TEST(Stream, EveryResidualKindOnceReusedStillFollowsTheUncachedVideo) {
  const auto model = tiny_model();
  const auto plain = latents(model, stream_config("none"), 3);
  for (const char* kind : {"velocity", "latent_increment", "token_residual"}) {
    Stream stream(model, stream_config(std::string("flowcache:warmup=2,residual=") + kind, 0.15));
    const auto cached = latents(stream, 3);
    EXPECT_GT(stream.stats().steps_reused, 0u) << kind;
    EXPECT_GT(stream.stats().reuse_bytes, 0u) << kind;
    for (size_t i = 0; i < cached.size(); ++i) {
      const double error =
          (cached[i] - plain[i]).abs().mean().item<double>() / plain[i].abs().mean().item<double>();
      EXPECT_LT(error, 0.35) << kind << " chunk " << i;
      EXPECT_GT(error, 0) << kind;
    }
  }
}

TEST(Stream, NonFiniteWeightsAreAnErrorNotAPicture) {
  const auto model = tiny_model([](WeightMap& weights) {
    weights["head.head.bias"] = at::full({64}, std::numeric_limits<float>::quiet_NaN());
  });
  Stream stream(model, stream_config("flowcache", 0.2));
  try {
    stream.next();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_MODEL);
  }
}

TEST(Stream, BadValuesNameTheValueAndTheLimit) {
  const auto model = tiny_model();
  const auto message = [&](auto&& change) -> std::string {
    StreamConfig c = stream_config("flowcache");
    change(c);
    try {
      Stream stream(model, c);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  EXPECT_NE(message([](auto& c) { c.cache = "magic"; }).find("magic"), std::string::npos);
  EXPECT_NE(message([](auto& c) { c.kv_cache = "attic"; }).find("attic"), std::string::npos);
  EXPECT_NE(message([](auto& c) { c.threshold = 11; }).find("0..10"), std::string::npos);
  EXPECT_NE(message([](auto& c) { c.guidance = 51; }).find("0..50"), std::string::npos);
  EXPECT_NE(message([](auto& c) { c.steps = 2000; }).find("1..1000"), std::string::npos);
  EXPECT_NE(message([](auto& c) { c.lag = 9; }).find("lag=9"), std::string::npos);
  EXPECT_NE(message([](auto& c) { c.kv_budget = 1000; }).find("budget"), std::string::npos);
  EXPECT_NE(message([](auto& c) { c.prompt = "\xff"; }).find("UTF-8"), std::string::npos);
}

// If everything that may be reused is reused, the first blocks still run. The picture differs but is still a
// picture.
TEST(FirstBlock, ReusesTheTailAndComputesWhenTheFirstBlocksChange) {
  const auto model = tiny_model();
  Stream stream(model, stream_config("dbcache:warmup=1,most_in_a_row=0", 10));
  const auto chunk = stream.next();
  const std::vector<uint8_t> wanted = {1, 0, 0, 0, 0, 0, 0, chunk->decisions.back()};
  EXPECT_EQ(chunk->decisions, wanted);
  Stream strict(model, stream_config("dbcache:warmup=1,most_in_a_row=0", 1e-9));
  EXPECT_EQ(strict.next()->decisions, std::vector<uint8_t>(8, 1));
}

TEST(FirstBlock, LimitsInARowAndInAll) {
  const auto model = tiny_model();
  Stream row(model, stream_config("dbcache:warmup=1,most_in_a_row=2", 10));
  const auto a = row.next()->decisions;
  EXPECT_EQ(std::vector<uint8_t>(a.begin(), a.begin() + 7), (std::vector<uint8_t>{1, 0, 0, 1, 0, 0, 1}));
  Stream all(model, stream_config("dbcache:warmup=1,most_in_a_row=0,most=3", 10));
  const auto b = all.next()->decisions;
  EXPECT_EQ(std::count(b.begin(), b.end(), 0), 3);
}

TEST(FirstBlock, MoreBlocksThanTheModelHasAreRefused) {
  const auto model = tiny_model();
  try {
    Stream stream(model, stream_config("dbcache:first_blocks=1,last_blocks=999"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    EXPECT_NE(std::string(error.what()).find("1000 blocks"), std::string::npos) << error.what();
  }
}

// One chunk in flight: the first chunk is computed, the next two reuse every step that the rules allow, the
// following one is computed. With several in flight each chunk computes at least its first step.
TEST(XChunk, ReusesTheSameStepOfAnEarlierChunk) {
  const auto model = tiny_model();
  Stream stream(model, stream_config("xchunk:angle=2,most_in_a_row=2", 10));
  EXPECT_EQ(stream.next()->decisions, std::vector<uint8_t>(8, 1));
  for (int i = 0; i < 2; ++i) {
    const auto reused = stream.next()->decisions;
    EXPECT_EQ(std::vector<uint8_t>(reused.begin(), reused.end() - 1), std::vector<uint8_t>(7, 0));
  }
  EXPECT_EQ(stream.next()->decisions, std::vector<uint8_t>(8, 1));

  Stream several(model, stream_config("xchunk:angle=2,most_in_a_row=0", 10, 2));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(several.next()->decisions.front(), 1) << i;
}

// After a cut that drops the history, a chunk is what it would be at the start of a video, because RoPE
// depends only on distances. After a blend, and with a model that keeps history, the old video has an effect.
TEST(Cut, BeginsWithoutHistoryWhereTheModelSaysSo) {
  const auto model = tiny_model();
  const auto same_noise = [](Stream& stream) {
    stream.replace_noise([](int64_t, int64_t) { return draw_noise(9, 0, 0, {16, 3, 6, 8}, at::kCPU); });
  };
  StreamConfig c = stream_config("none");
  c.prompt = "snow";
  Stream alone(model, c);
  same_noise(alone);
  const at::Tensor wanted = alone.next()->latent;
  const auto third_chunk = [&](const char* on_cut, uint32_t blend) {
    model->package.cache["on_cut"] = on_cut;
    Stream stream(model, stream_config("none"));
    same_noise(stream);
    stream.next(), stream.next();
    stream.prompts().change("snow", FC_NEXT_CHUNK, blend);
    return (stream.next()->latent - wanted).abs().max().item<double>();
  };
  EXPECT_LT(third_chunk("forget", 0), 1e-3);
  EXPECT_GT(third_chunk("keep", 0), 1e-2);
  EXPECT_GT(third_chunk("forget", 2), 1e-2);
}

TEST(XChunk, ANewPromptIsNotMadeOfTheOldOne) {
  const auto model = tiny_model();
  Stream stream(model, stream_config("xchunk:angle=2,most_in_a_row=0", 10));
  stream.next();
  EXPECT_EQ(stream.next()->decisions.front(), 0);
  stream.prompts().change("snow", FC_NEXT_CHUNK, 0);
  EXPECT_EQ(stream.next()->decisions, std::vector<uint8_t>(8, 1));
}

// The older chunk computes steps after the newer one has begun: these are not for the newer one.
TEST(XChunk, NorIsItWithChunksOfBothInFlight) {
  const auto model = tiny_model();
  Stream stream(model, stream_config("xchunk:angle=2,most_in_a_row=0", 10, 4));
  for (int i = 0; i < 3; ++i) stream.next();
  const std::vector<uint8_t> usual = stream.next()->decisions;
  ASSERT_LT(std::accumulate(usual.begin(), usual.end(), 0), 8);
  const uint64_t ticket = stream.prompts().change("snow", FC_NEXT_CHUNK, 0);
  auto changed = stream.next();
  while (changed->prompt_ticket != ticket) changed = stream.next();
  EXPECT_EQ(changed->decisions, std::vector<uint8_t>(8, 1));
  bool reuses = false;  // again, what is the new prompt's own
  for (int i = 0; i < 4; ++i)
    for (const auto next = stream.next(); const uint8_t computed : next->decisions)
      reuses = reuses || !computed;
  EXPECT_TRUE(reuses);
}

TEST(XChunk, NorIsANewNegativePrompt) {
  const auto model = tiny_model();
  StreamConfig config = stream_config("xchunk:angle=2,most_in_a_row=0", 10);
  config.guidance = 3;
  Stream stream(model, config);
  stream.next();
  EXPECT_EQ(stream.next()->decisions.front(), 0);
  stream.negative_prompt("snow");
  EXPECT_EQ(stream.next()->decisions, std::vector<uint8_t>(8, 1));
  EXPECT_EQ(stream.next()->decisions.front(), 0);
}

TEST(MixCache, TakesTurnsBetweenStepAndBlocksAndKeepsItsInterval) {
  const auto model = tiny_model();
  Stream always(model, stream_config("mixcache:warmup=2,longest=2,calm=10,rough=10", 10));
  const auto decisions = always.next()->decisions;
  // The interval is 1 until the second fully computed step has been compared with the first; then it is 2.
  EXPECT_EQ(std::vector<uint8_t>(decisions.begin(), decisions.begin() + 7),
            (std::vector<uint8_t>{1, 1, 0, 0, 1, 0, 0}));

  // Whole steps only, blocks only, and the mixture give different videos.
  const auto video = [&](const std::string& spec) { return latents(model, stream_config(spec, 10), 2); };
  const std::string base = "mixcache:warmup=2,repeat_penalty=1,block_impact=";
  const auto blocks = video(base + "0"), steps = video(base + "100");
  EXPECT_FALSE(identical(blocks, steps));
  const auto mixture =
      video("mixcache:warmup=2,repeat_penalty=100,block_impact=1,longest=4,calm=10,rough=10");
  EXPECT_FALSE(identical(mixture, blocks));
  EXPECT_FALSE(identical(mixture, steps));
}

TEST(MixCache, SurvivesGuidanceThatGoesAndComes) {
  const auto model = tiny_model();
  StreamConfig c = stream_config("mixcache+cfg_cache:start=0.2", 10);
  c.guidance = 3;
  Stream stream(model, c);
  for (const double guidance : {1.0, 3.0, 0.0, 2.0}) {
    stream.tune(-1, guidance);
    EXPECT_TRUE(stream.next()->latent.isfinite().all().item<bool>()) << guidance;
  }
}

// The policy compares a step's estimate of the clean latent with the final latent. A budget of three chunks
// is full after three chunks.
TEST(DecoPrune, RunsInAStreamAndKeepsToItsBudget) {
  const auto model = tiny_model();
  model->package.cache["history_chunks"] = 3;
  StreamConfig c = stream_config("none");
  c.kv_cache = "decoprune";
  Stream stream(model, c);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(stream.next()->latent.isfinite().all().item<bool>());
  EXPECT_EQ(stream.stats().kv_bytes, stream.stats().kv_budget);
}

// Chunk by chunk the policy sees how far each token moved; a reset and a cut begin anew.
TEST(TokenTrim, RunsInAStreamAndAResetRepeatsIt) {
  const auto model = tiny_model();
  model->package.cache["history_chunks"] = 3;
  StreamConfig c = stream_config("none");
  c.kv_cache = "tokentrim:share=0.5,deviations=0";
  Stream stream(model, c);
  std::vector<at::Tensor> first;
  for (int i = 0; i < 8; ++i) first.push_back(stream.next()->latent);
  EXPECT_EQ(stream.stats().kv_bytes, stream.stats().kv_budget);
  stream.reset(c.seed);
  for (const at::Tensor& latent : first) EXPECT_TRUE(stream.next()->latent.equal(latent));
  c.kv_cache = "window:sink_frames=" + std::to_string(model->package.latent_frames_per_chunk);
  Stream window(model, c);
  bool differs = false;  // with this threshold about every second chunk loses tokens
  for (const at::Tensor& latent : first) differs |= !window.next()->latent.equal(latent);
  EXPECT_TRUE(differs);
}

std::shared_ptr<LoadedModel> few_step_model(const std::vector<int>& steps,
                                            const std::vector<int>& first = {}) {
  auto model = tiny_model();
  model->package.sampler = {{"kind", "few_step"}, {"denoising_step_list", steps}};
  if (!first.empty()) model->package.sampler["denoising_step_list_first_chunk"] = first;
  return model;
}

// Causal-Forcing++: the first chunk in four steps, the others in one or two. It is the chunk that four steps would have made.
TEST(FirstChunk, TakesTheStepsOfItsOwnList) {
  const std::vector<int> four = {1000, 750, 500, 250};
  const at::Tensor wanted = latents(few_step_model(four), stream_config("none"), 1)[0];
  for (const std::vector<int>& steps : {std::vector<int>{1000}, {1000, 500}}) {
    Stream stream(few_step_model(steps, four), stream_config("none"));
    std::vector<at::Tensor> all;
    for (int i = 0; i < 4; ++i) {
      const auto chunk = stream.next();
      EXPECT_EQ(chunk->decisions.size(), i == 0 ? four.size() : steps.size());
      all.push_back(chunk->latent);
    }
    EXPECT_TRUE(all[0].equal(wanted));
    EXPECT_FALSE(all[0].equal(latents(few_step_model(steps), stream_config("none"), 1)[0]));
    stream.reset(5);
    EXPECT_TRUE(identical(latents(stream, 4), all)) << "chunk 0 again has its own steps";
  }
  // Nothing of the first chunk's noise levels is reused in the next one.
  StreamConfig across = stream_config("xchunk", 10);
  Stream stream(few_step_model({1000, 500}, four), across);
  stream.next();
  EXPECT_EQ(stream.next()->decisions, (std::vector<uint8_t>{1, 1}));
  StreamConfig overlapping = stream_config("none", -1, 1);
  EXPECT_THROW(Stream(few_step_model({1000, 500}, four), overlapping), Error) << "two chunks in flight";
}

// Chunks of one latent frame, with any number of steps.
TEST(FirstChunk, AndTheOthersMayHaveOneFrame) {
  const auto model = few_step_model({1000}, {1000, 500});
  model->package.latent_frames_per_chunk = model->package.frames_per_chunk = 1;
  model->package.cache["history_chunks"] = 5;
  StreamConfig c = stream_config("none");
  c.kv_cache = "window:sink_frames=1";
  Stream stream(model, c);
  at::Tensor before;
  for (int i = 0; i < 9; ++i) {
    const at::Tensor latent = stream.next()->latent;
    EXPECT_EQ(latent.sizes(), (std::vector<int64_t>{16, 1, 6, 8}));
    EXPECT_TRUE(latent.isfinite().all().item<bool>());
    if (before.defined()) EXPECT_FALSE(latent.equal(before));
    before = latent;
  }
  EXPECT_EQ(stream.stats().kv_bytes, stream.stats().kv_budget) << "the window is full";
}

TEST(Stream, AChunkTellsWhatTheDeadlineCostIt) {
  const auto model = test::tiny_model();
  Stream stream(model, stream_config("auto", 1, 0));
  stream.deadline(1e-6);
  int level = 0;
  for (int i = 0; i < 6; ++i) {
    const auto chunk = stream.next();
    const auto computed = std::count(chunk->decisions.begin(), chunk->decisions.end(), 1);
    EXPECT_EQ(computed + chunk->governor_level, static_cast<int>(chunk->decisions.size())) << i;
    EXPECT_GE(chunk->governor_level, level) << i;  // no machine can meet this deadline
    level = chunk->governor_level;
  }
  EXPECT_GT(level, 0);
}

}  // namespace
}  // namespace flowcache
