// SPDX-License-Identifier: LGPL-2.1-or-later
// After reset() a stream equals a new one, frame by frame. This is tested for every setting and for every
// policy of the registries with each of its options, so new policies are tested without further work.
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "tiny_model.h"

namespace flowcache {
namespace {

constexpr int usual_chunks = 3;

// Its pictures depend on all earlier latents, as with published decoders.
class RememberingDecoder final : public Decoder {
 public:
  mutable bool fails = false;  // open() fails

  std::unique_ptr<DecoderState> open() const override {
    if (fails) throw Error(FC_ERROR_MEMORY, "no room for a decoder's state");
    return std::make_unique<State>();
  }
  at::Tensor decode(const at::Tensor& latents, DecoderState& state) const override {
    at::Tensor& seen = static_cast<State&>(state).seen;
    const at::Tensor now = latents.slice(1, 0, 3);
    seen = seen.defined() ? seen * 0.5 + now : now;
    if (failures > 0 && failures--) throw Error(FC_ERROR_MEMORY, "no memory for decoding");
    return seen.sigmoid().contiguous();
  }
  int64_t time_scale() const override { return 1; }
  int64_t space_scale() const override { return 1; }
  mutable int failures = 0;  // so many calls fail, after they have changed the state

 private:
  struct State final : DecoderState {
    std::unique_ptr<DecoderState> copy() const override { return std::make_unique<State>(*this); }
    at::Tensor seen;
  };
};

std::shared_ptr<LoadedModel> remembering_model() {
  auto model = test::tiny_model();
  model->decoder = std::make_unique<RememberingDecoder>();
  model->package.seam_fade_frames = 2;
  model->package.fps_n = 16;
  model->package.frames_per_chunk = 3;
  return model;
}

// One model for all tests that do not change it.
const std::shared_ptr<LoadedModel>& shared_model() {
  static const std::shared_ptr<LoadedModel> model = remembering_model();
  return model;
}

struct Setting {
  StreamConfig config;
  std::function<void(Stream&)> steer = [](Stream&) {};  // settings of a stream that runs
  int chunks = usual_chunks;
};

StreamConfig reset_config(const std::string& cache, const std::string& kv = "window") {
  return {.prompt = "fire", .seed = 9, .cache = cache, .kv_cache = kv, .threshold = 1, .steps = 4};
}

// Sets a deadline that no machine can meet, so that the result does not depend on time.
void hurry(Stream& stream) {
  stream.deadline(1e-9);
}

Setting of_reuse(const std::string& spec) {
  Setting setting{reset_config(spec)};
  if (policy_name(spec) == "auto") setting.steer = hurry;
  return setting;
}
Setting of_kv(const std::string& spec) {
  Setting setting{reset_config("flowcache", spec)};
  setting.config.kv_budget =
      3 * 2 * 2 * 64 * 36 * 4;  // three chunks: the fifth is the first for which something was dropped
  setting.chunks = 5;
  return setting;
}
Setting of_guidance(const std::string& spec) {
  Setting setting{reset_config("ramp+" + spec)};
  setting.config.guidance = 3;
  setting.config.negative_prompt = "ice";
  return setting;
}

// Returns null if the policy has ended the stream by its own rules.
std::shared_ptr<const Chunk> next_or_end(Stream& stream) {
  try {
    return stream.next();
  } catch (const Error& error) {
    if (error.status() != FC_ENDED) throw;
    return nullptr;
  }
}

void expect_same_chunks(Stream& fresh, Stream& used, const std::string& what, int chunks = usual_chunks) {
  for (int i = 0; i < chunks; ++i) {
    const auto wanted = next_or_end(fresh), have = next_or_end(used);
    ASSERT_EQ(wanted == nullptr, have == nullptr) << what << ", chunk " << i;
    if (!wanted) return;
    EXPECT_EQ(have->index, i) << what;
    EXPECT_EQ(have->decisions, wanted->decisions) << what << ", chunk " << i;
    EXPECT_TRUE(have->latent.equal(wanted->latent)) << what << ", chunk " << i;
    EXPECT_TRUE(have->frames.equal(wanted->frames)) << what << ", chunk " << i;
    EXPECT_EQ(have->kv_bytes, wanted->kv_bytes) << what << ", chunk " << i;
    EXPECT_EQ(have->threshold, wanted->threshold) << what << ", chunk " << i;
    EXPECT_EQ(have->governor_level, wanted->governor_level) << what << ", chunk " << i;
  }
}

void expect_same_counts(const Stream& fresh, const Stream& used, const std::string& what) {
  const StreamStats a = fresh.stats(), b = used.stats();
  EXPECT_EQ(a.chunks, b.chunks) << what;
  EXPECT_EQ(a.steps_computed, b.steps_computed) << what;
  EXPECT_EQ(a.steps_reused, b.steps_reused) << what;
  EXPECT_EQ(a.forced_computes, b.forced_computes) << what;
  EXPECT_EQ(a.kv_bytes, b.kv_bytes) << what;
  EXPECT_EQ(a.reuse_bytes, b.reuse_bytes) << what;
  EXPECT_EQ(a.threshold, b.threshold) << what;
  EXPECT_EQ(a.governor_level, b.governor_level) << what;
}

// Makes another video first, then `disturb`, a reset, and the setting's own video.
void expect_fresh_after_reset(
    const Setting& setting, const std::string& what,
    const std::function<void(Stream&)>& disturb = [](Stream&) {}) {
  const auto& model = shared_model();
  Stream fresh(model, setting.config);
  StreamConfig other = setting.config;
  other.seed = 5;
  Stream used(model, other);
  for (Stream* stream : {&fresh, &used}) setting.steer(*stream);
  for (int i = 0; i < setting.chunks; ++i) next_or_end(used);
  disturb(used);
  used.reset(setting.config.seed);
  expect_same_counts(fresh, used, what);
  expect_same_chunks(fresh, used, what, setting.chunks);
  expect_same_counts(fresh, used, what);
}

// The policy without options, and with each option at another value than its default.
template <class Policy>
std::vector<std::string> variants(const PolicyEntry<Policy>& entry) {
  std::vector<std::string> specs = {entry.name};
  for (const OptionSpec& option : entry.options) {
    if (option.text) continue;
    const double other = option.value != option.min ? option.min : option.max;
    std::ostringstream spec;
    spec << entry.name << ':' << option.name << '=';
    option.words.empty() ? spec << other : spec << option.words.back();
    specs.push_back(spec.str());
  }
  return specs;
}

// Settings that the tiny model cannot use are left out, but never a policy without options.
template <class Policy>
void expect_every_variant(const PolicyEntry<Policy>& entry, Setting (*make)(const std::string&)) {
  for (const std::string& spec : variants(entry)) {
    const Setting setting = make(spec);
    try {
      Stream opens(shared_model(), setting.config);
    } catch (const Error& refused) {
      EXPECT_NE(spec, entry.name) << refused.what();
      continue;
    }
    expect_fresh_after_reset(setting, spec);
  }
}

class ResetOfReuse : public testing::TestWithParam<PolicyEntry<ReusePolicy>> {};
class ResetOfKv : public testing::TestWithParam<PolicyEntry<KvPolicy>> {};
class ResetOfGuidance : public testing::TestWithParam<PolicyEntry<GuidancePolicy>> {};
constexpr auto name_of_entry = [](const auto& info) { return info.param.name; };
template <class Entry>
auto all_of(std::span<const Entry> entries) {
  return testing::ValuesIn(std::vector<Entry>(entries.begin(), entries.end()));
}
INSTANTIATE_TEST_SUITE_P(Every, ResetOfReuse, all_of(reuse_policies()), name_of_entry);
INSTANTIATE_TEST_SUITE_P(Every, ResetOfKv, all_of(kv_policies()), name_of_entry);
INSTANTIATE_TEST_SUITE_P(Every, ResetOfGuidance, all_of(guidance_policies()), name_of_entry);

TEST_P(ResetOfReuse, IsAFreshStream) {
  expect_every_variant(GetParam(), of_reuse);
}
TEST_P(ResetOfKv, IsAFreshStream) {
  expect_every_variant(GetParam(), of_kv);
}
TEST_P(ResetOfGuidance, IsAFreshStream) {
  expect_every_variant(GetParam(), of_guidance);
}

// A chunk whose decoding fails is decoded by the next call: nothing is lost, nothing runs twice, the video is the same.
TEST(Decoding, ThatFailsIsDoneAgain) {
  for (const char* kv : {"window", "flowcache", "tokentrim"}) {
    const auto model = remembering_model();
    const auto* decoder = static_cast<const RememberingDecoder*>(model->decoder.get());
    const StreamConfig config = of_kv(kv).config;
    Stream whole(model, config), failing(model, config);
    for (int i = 0; i < 6; ++i) {
      const auto want = whole.next();
      decoder->failures = i % 3;
      for (int k = 0; k < i % 3; ++k) EXPECT_THROW(failing.next(), Error) << kv;
      const auto got = failing.next();
      EXPECT_EQ(got->index, want->index) << kv;
      EXPECT_TRUE(got->frames.equal(want->frames)) << kv << " chunk " << i;
      EXPECT_EQ(got->decisions, want->decisions) << kv;
    }
    EXPECT_EQ(failing.stats().chunks, whole.stats().chunks);
    EXPECT_EQ(failing.stats().steps_computed, whole.stats().steps_computed);
  }
}

// With two guidance branches: one may be history already when the other one fails. Only the rest is done again.
TEST(BecomingHistory, ThatFailsIsDoneAgain) {
  for (const char* kv : {"window", "window:sink_frames=3,positions=relative", "flowcache", "tokentrim",
                         "decoprune:recent_chunks=1"}) {
    Setting setting = of_kv(kv);
    setting.config.guidance = 3;
    setting.config.kv_budget *= 2;  // for each branch as much
    Stream whole(shared_model(), setting.config), failing(shared_model(), setting.config);
    int failures = 0;
    size_t at = 0;
    failing.watch_history([&](size_t branch) {
      if (branch == at && failures-- > 0) throw Error(FC_ERROR_MEMORY, "no memory, says the test");
    });
    for (int i = 0; i < 7; ++i) {
      const auto want = whole.next();
      at = i % 2;
      const int times = failures = i % 3;
      for (int k = 0; k < times; ++k) EXPECT_THROW(failing.next(), Error) << kv;
      failures = 0;
      const auto got = failing.next();
      EXPECT_EQ(got->index, want->index) << kv;
      EXPECT_TRUE(got->latent.equal(want->latent)) << kv << " chunk " << i;
      EXPECT_EQ(got->decisions, want->decisions) << kv;
      for (int branch = 0; branch < 2; ++branch) {
        EXPECT_TRUE(failing.kv(branch).history(0).k.equal(whole.kv(branch).history(0).k)) << kv << i;
        EXPECT_EQ(failing.kv(branch).held_chunks(), whole.kv(branch).held_chunks()) << kv << i;
      }
    }
  }
}

TEST(Reset, IsAFreshStreamUnderEverySetting) {
  const std::pair<const char*, std::function<void(StreamConfig&)>> settings[] = {
      {"two chunks in flight", [](StreamConfig& c) { c.lag = 2; }},
      {"a chunk a step", [](StreamConfig& c) { c.lag = 1; }},
      {"no clean pass", [](StreamConfig& c) { c.clean_context = 0; }},
      {"guidance", [](StreamConfig& c) { c.guidance = 3; }},
      {"a negative prompt", [](StreamConfig& c) { c.guidance = 2, c.negative_prompt = "ice"; }},
      {"no prompt", [](StreamConfig& c) { c.prompt.clear(); }},
      {"a threshold of nothing", [](StreamConfig& c) { c.threshold = 0; }},
      {"a budget of a chunk", [](StreamConfig& c) { c.kv_budget = 2 * 2 * 64 * 36 * 4; }},
      {"a prefix",
       [](StreamConfig& c) {
         c.initial_latents = draw_noise(7, 0, 0, {16, 6, 6, 8}, at::kCPU);
       }},
  };
  for (const auto& [name, set] : settings) {
    Setting setting{reset_config("flowcache", "flowcache")};
    set(setting.config);
    expect_fresh_after_reset(setting, name);
  }
}

TEST(Reset, TakesThePromptAndTheSettingsInForceAlong) {
  const std::function<void(Stream&)> prompt = [](Stream& s) { s.prompts().change("snow", FC_NEXT_CHUNK, 0); };
  const std::function<void(Stream&)> blend = [](Stream& s) { s.prompts().change("snow", FC_NEXT_CHUNK, 9); };
  for (const auto& change : {prompt, blend}) {
    Setting setting{reset_config("xchunk")};
    setting.config.prompt = "snow";
    expect_fresh_after_reset(setting, "a prompt", [&](Stream& used) {
      change(used);
      used.next();  // begins with it
      used.prompts().change("never", 100, 0);
    });
  }
  Setting setting{reset_config("flowcache")};
  setting.config.guidance = 2;
  setting.config.threshold = 0.5;
  setting.config.negative_prompt = "ice";
  setting.steer = [](Stream& stream) { stream.tune(0.7, 4); };
  expect_fresh_after_reset(setting, "tuned", [](Stream& used) {
    used.tune(0.1, 1);
    used.next();
    used.tune(0.7, 4);
  });
  expect_fresh_after_reset(setting, "a negative prompt", [](Stream& used) {
    used.negative_prompt("smoke");
    used.next();
    used.negative_prompt("ice");  // not in force yet
  });
}

TEST(Reset, IsAFreshStreamFromTheMiddleOfAChunkToo) {
  for (const char* cache : {"flowcache", "xchunk", "mixcache", "attention", "forecast"}) {
    Setting setting{reset_config(cache, "flowcache")};
    setting.config.lag = 2;
    expect_fresh_after_reset(setting, cache, [](Stream& used) {
      int steps = 0;
      used.watch_computed([&](const ChunkStep&, const at::Tensor&) {
        if (++steps == 2) used.cancel();
      });
      EXPECT_THROW(used.next(), Error);
      used.watch_computed({});
    });
  }
}

TEST(Reset, TakesTheNoiseOfAPrefixFromTheNewSeed) {
  const auto model = test::tiny_model();
  model->package.family = "skyreels";
  model->package.sampler = {{"kind", "unipc"}, {"steps", 6}, {"shift", 5.0}};
  StreamConfig c = reset_config("none");
  c.initial_latents = draw_noise(7, 0, 0, {16, 4, 6, 8}, at::kCPU);
  Stream fresh(model, c);
  c.seed = 5;
  Stream used(model, c);
  used.next();
  used.reset(9);
  expect_same_chunks(fresh, used, "a prefix with noise");
}

TEST(Reset, ThatFailsChangesNothing) {
  const auto model = remembering_model();
  Stream plain(model, reset_config("flowcache", "flowcache")),
      tried(model, reset_config("flowcache", "flowcache"));
  plain.next();
  tried.next();
  auto& decoder = static_cast<RememberingDecoder&>(*model->decoder);
  decoder.fails = true;
  EXPECT_THROW(tried.reset(1), Error);
  decoder.fails = false;
  for (int i = 1; i < usual_chunks; ++i) EXPECT_TRUE(tried.next()->frames.equal(plain.next()->frames)) << i;
}

TEST(Reset, LeavesACancellationThatNobodyHasAnswered) {
  Stream stream(remembering_model(), reset_config("none"));
  stream.cancel();
  stream.reset(1);
  EXPECT_THROW(stream.next(), Error);
  EXPECT_NO_THROW(stream.next());
}

}  // namespace
}  // namespace flowcache
