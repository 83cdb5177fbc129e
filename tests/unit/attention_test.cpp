// SPDX-License-Identifier: LGPL-2.1-or-later
// The policy that reuses attention outputs (FasterCache): its formula, and its effect in a stream.
#include <gtest/gtest.h>

#include <fstream>

#include "attention_notes.h"
#include "base/error.h"
#include "cache_steps.h"
#include "families/magi/magi_stream.h"
#include "stream/residual/kept.h"
#include "tiny_model.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

using test::CountingKeys;
using test::Notes;
using test::tiny_model;

// the formula

TEST(Residuals, AWeightedSumOfTheNewest) {
  Residuals kept;
  for (const float value : {1.0F, 4.0F, 6.0F}) kept.keep(at::full({2}, value), 2);
  EXPECT_EQ(kept.size(), 2U);
  EXPECT_EQ(kept.bytes(), 16U);
  EXPECT_TRUE(kept.combined({1.0}).equal(at::full({2}, 6.0F)));
  EXPECT_TRUE(kept.combined({1.5, -0.5}).equal(at::full({2}, 7.0F)));  // 6 + 0.5 (6 - 4)
}

TEST(AttentionPass, ExtrapolatesEachLayerAndHoldsWhereThereIsButOne) {
  std::vector<Residuals> layers;
  AttentionPass first(layers, {}, 2);
  EXPECT_FALSE(first.recall(0).defined());
  first.keep(0, at::full({2}, 4.0F));
  AttentionPass second(layers, {}, 2);
  EXPECT_FALSE(second.recall(0).defined()) << "a computed step recalls nothing";
  second.keep(0, at::full({2}, 6.0F));
  second.keep(1, at::full({2}, 9.0F));
  EXPECT_EQ(second.share_recalled(), 0);
  AttentionPass reused(layers, {1.25, -0.25}, 2);
  EXPECT_TRUE(reused.recall(0).equal(at::full({2}, 6.5F)));
  EXPECT_TRUE(reused.recall(1).equal(at::full({2}, 9.0F)));
  EXPECT_FALSE(reused.recall(2).defined());
  reused.keep(2, at::ones({2}));
  EXPECT_DOUBLE_EQ(reused.share_recalled(), 2.0 / 3);
}

// the policy

std::string pattern(const std::string& spec, int steps) {
  const auto policy = choose_reuse(spec).make();
  std::string computed;
  for (const int one : cache_steps::run(*policy, cache_steps::drifting(0.01, steps), 1))
    computed += one ? '1' : '0';
  return computed;
}

TEST(Attention, SkipsEverySecondStepAfterAShareOfThem) {
  EXPECT_EQ(pattern("attention", 12), "111010101011");
  EXPECT_EQ(pattern("attention:start=0.5,interval=3", 12), "111111001001");
  EXPECT_EQ(pattern("attention:start=0", 5), "10101") << "a chunk's first step has nothing to recall";
  EXPECT_EQ(pattern("attention:start=1", 5), "11111");
  EXPECT_EQ(pattern("attention:interval=1", 6), "111111");
}

TEST(Attention, TheWeightGrowsToItsLargest) {
  const auto factors = [](const std::string& spec, int step, int computed) {
    const auto policy = choose_reuse(spec).make();
    for (int i = 0; i < computed; ++i) policy->computed(cache_steps::make_step(0, i, 13, 0), {});
    return policy->prediction(cache_steps::make_step(0, step, 13, 0).info);
  };
  using Factors = std::vector<double>;  // of 13 steps the 4th is the first skipped one, and 8 steps follow it
  EXPECT_EQ(factors("attention", 4, 3), Factors({1.0}));
  EXPECT_EQ(factors("attention", 8, 3), Factors({1.5, -0.5}));
  EXPECT_EQ(factors("attention:weight=0.5", 12, 3), Factors({1.5, -0.5}));
  EXPECT_EQ(factors("attention:growth=constant,weight=0.25", 4, 3), Factors({1.25, -0.25}));
  EXPECT_EQ(factors("attention", 8, 1), Factors({1.0})) << "one computed step: nothing to extrapolate from";
  EXPECT_EQ(factors("attention:weight=0", 12, 3), Factors({1.0}));
  EXPECT_EQ(choose_reuse("attention:weight=0").make()->residuals_kept(), 1);
}

// the networks

struct Case {
  std::string name;
  std::shared_ptr<Transformer> network;
  at::Tensor latent, features;
  int outputs;   // attention outputs of a forward pass
  int appended;  // of them, those that write to the cache
};

Case wan() {
  const auto weights =
      read_safetensors(FLOWCACHE_SOURCE_DIR "/tests/golden/self-forcing-pipeline/weights.safetensors");
  return {"wan",
          make_wan(test::tiny_config(), weights, at::kFloat, at::kCPU),
          at::randn({16, 3, 6, 8}),
          at::randn({4, 48}),
          2,
          2};
}

nlohmann::json magi_config() {
  std::ifstream file(FLOWCACHE_SOURCE_DIR "/tests/golden/magi-dit-window/case.json");
  return nlohmann::json::parse(file).at("config");
}

Case magi(const char* name, int passes, int writing) {
  nlohmann::json config = magi_config();
  config["runtime_config"]["cfg_number"] = passes == 3 ? 3 : 1;
  config["engine_config"]["distill"] = passes == 2;
  if (passes == 2) config["engine_config"]["distill_nearly_clean_chunk_threshold"] = 0.1;
  auto weights = read_safetensors(FLOWCACHE_SOURCE_DIR "/tests/golden/magi-dit-window/weights.safetensors");
  std::shared_ptr<Transformer> network = make_magi(config, weights, at::kFloat, at::kCPU);
  const int layers = network->shape().layers;
  return {name,
          std::move(network),
          at::randn({16, 6, 4, 6}),
          at::randn({5, 24}),
          passes * layers,
          writing * layers};
}

at::Tensor forward(const Case& c, double t, KvView& kv, AttentionMemory* memory) {
  Embedded embedded = c.network->embed(c.latent, {&t, 1}, 0);
  embedded.attention = memory;
  return c.network->head(
      embedded, c.network->blocks(embedded, embedded.tokens, *c.network->condition(c.features), kv, 0,
                                  c.network->shape().layers));
}

// If a network recalls what the same pass has kept, its result is the same, and the cache is not used. If it
// recalls something else, its result differs.
TEST(AttentionMemory, StandsForWhatTheBlocksWouldCompute) {
  const c10::InferenceMode inference;
  at::manual_seed(1);
  for (const Case& c : {wan(), magi("magi", 1, 1), magi("magi distilled", 2, 1), magi("magi guided", 3, 2)}) {
    const double t = c.name == "wan" ? 700 : 0.8;
    CountingKeys kv;
    Notes notes;
    const at::Tensor plain = forward(c, t, kv, nullptr);
    EXPECT_EQ(kv.appended, c.appended) << c.name;
    EXPECT_TRUE(forward(c, t, kv, &notes).equal(plain)) << c.name;
    EXPECT_EQ(notes.kept.size(), static_cast<size_t>(c.outputs)) << c.name;
    notes.hands_back = true;
    kv.appended = 0;
    EXPECT_TRUE(forward(c, t, kv, &notes).equal(plain)) << c.name;
    EXPECT_EQ(kv.appended, 0) << c.name;
    for (int i = 0; i < c.outputs; ++i) {  // every output counts
      Notes other = notes;
      other.kept[i] = other.kept[i] * 1.5;
      EXPECT_FALSE(forward(c, t, kv, &other).equal(plain)) << c.name << " output " << i;
    }
  }
}

// the stream

StreamConfig attention_config(const std::string& cache, int lag = 0, double guidance = 1) {
  return {.prompt = "fire", .seed = 5, .cache = cache, .lag = lag, .guidance = guidance};
}

// A network that records what its blocks recall, or that itself recalls attention on every second step.
class Watched final : public test::WrappedTransformer {
 public:
  using WrappedTransformer::WrappedTransformer;
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override {
    Embedded own = embedded;
    if (holds) {
      holding.hands_back = call >= 2 && call % 2 == 0;  // steps 2, 4, 6 of 8; the clean pass is call 8
      own.attention = call == 8 ? nullptr : &holding;
      ++call;
      return WrappedTransformer::blocks(own, std::move(tokens), condition, kv, first, last);
    }
    Listener listener(*this, &condition, embedded);
    if (embedded.attention) own.attention = &listener;
    return WrappedTransformer::blocks(own, std::move(tokens), condition, kv, first, last);
  }

  struct Branch {
    int recalled = 0, exactly_the_last = 0;
  };
  mutable std::map<const Condition*, Branch> branches;
  bool holds = false;
  mutable Notes holding;
  mutable int call = 0;

 private:
  class Listener final : public AttentionMemory {
   public:
    Listener(const Watched& own, const Condition* condition, const Embedded& embedded)
        : own_(own), condition_(condition), embedded_(embedded) {}
    at::Tensor recall(int layer) override {
      at::Tensor known = embedded_.attention->recall(layer);
      if (!known.defined()) return known;
      Branch& branch = own_.branches[condition_];
      ++branch.recalled;
      branch.exactly_the_last += known.equal(own_.last_[{condition_, embedded_.first_frame, layer}]);
      return known;
    }
    void keep(int layer, const at::Tensor& output) override {
      own_.last_[{condition_, embedded_.first_frame, layer}] = output;
      embedded_.attention->keep(layer, output);
    }

   private:
    const Watched& own_;
    const Condition* condition_;
    const Embedded& embedded_;
  };

  mutable std::map<std::tuple<const Condition*, int64_t, int>, at::Tensor> last_;
};

struct Scene {
  std::shared_ptr<LoadedModel> model = tiny_model();
  Watched* watched = test::wrap_transformer<Watched>(*model);
};

constexpr int layers = 2;

TEST(AttentionStream, NothingSkippedIsBitIdenticalToNoCaching) {
  for (const int lag : {8, 6, 2}) {
    const auto model = tiny_model();
    Stream plain(model, attention_config("none", lag)),
        all(model, attention_config("attention:interval=1", lag));
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(plain.next()->latent.equal(all.next()->latent)) << lag;
  }
}

TEST(AttentionStream, WeightZeroHolds) {
  const Scene scene;
  Stream held(scene.model, attention_config("attention:weight=0"));  // 8 steps: 2, 4 and 6 are skipped
  const auto chunk = held.next();
  EXPECT_EQ(chunk->decisions, std::vector<uint8_t>({1, 1, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(scene.watched->branches.begin()->second.recalled, 3 * layers);
  EXPECT_EQ(scene.watched->branches.begin()->second.exactly_the_last, 3 * layers);

  scene.watched->holds = true;
  Stream by_hand(scene.model, attention_config("none"));
  EXPECT_TRUE(by_hand.next()->latent.equal(chunk->latent));
  scene.watched->holds = false;
  Stream extrapolated(scene.model, attention_config("attention")),
      plain(scene.model, attention_config("none"));
  const at::Tensor other = extrapolated.next()->latent, exact = plain.next()->latent;
  EXPECT_FALSE(other.equal(chunk->latent));
  EXPECT_FALSE(other.equal(exact));
}

TEST(AttentionStream, FollowsTheUncachedVideoWithSeveralInFlight) {
  for (const int lag : {8, 6, 3}) {
    const auto model = tiny_model();
    Stream plain(model, attention_config("none", lag)), cached(model, attention_config("attention", lag));
    for (int i = 0; i < 4; ++i) {
      const at::Tensor a = plain.next()->latent, b = cached.next()->latent;
      EXPECT_LT((a - b).abs().mean().item<double>(), 0.2 * a.abs().mean().item<double>()) << lag;
    }
    EXPECT_GT(cached.stats().steps_reused, 0U) << lag;
    // At least two outputs for each layer of the chunk that was finished last.
    EXPECT_GE(cached.stats().reuse_bytes, 2 * layers * 36 * 64 * sizeof(float)) << lag;
  }
}

// Two operations for each weight of the skipped matrices and token, and the products with keys and values.
TEST(AttentionStream, TheSavingIsCounted) {
  const auto model = tiny_model();
  Stream plain(model, attention_config("none")), cached(model, attention_config("attention"));
  const double tokens = 36, dim = 64;
  const double saved = 3 * layers * tokens * (2 * 4 * dim * dim + 4 * dim * tokens);
  EXPECT_DOUBLE_EQ(plain.next()->flops - cached.next()->flops, saved);
}

// The attended context changes whenever a chunk leaves history. Nothing may be extrapolated across such a
// change.
TEST(AttentionStream, AChangedContextLeavesNothingToExtrapolateFrom) {
  const Scene scene;
  Stream stream(scene.model, attention_config("attention:start=0,growth=constant", 1));
  for (int i = 0; i < 3; ++i) stream.next();  // history is full: from now on a chunk leaves it at every tick
  scene.watched->branches.clear();
  for (int i = 0; i < 4; ++i) stream.next();
  for (const auto& [condition, branch] : scene.watched->branches)
    EXPECT_EQ(branch.recalled, 0) << "every step is the first of its context";
  EXPECT_GT(stream.stats().forced_computes, 0U);

  const Scene slower;
  Stream other(slower.model, attention_config("attention:start=0,growth=constant", 2));
  for (int i = 0; i < 6; ++i) other.next();
  slower.watched->branches.clear();
  for (int i = 0; i < 4; ++i) other.next();
  const auto& branch = slower.watched->branches.begin()->second;
  EXPECT_GT(branch.recalled, 0);
  EXPECT_EQ(branch.recalled, branch.exactly_the_last) << "one computed step since, so it is held";
}

TEST(AttentionStream, ChangedGuidanceDropsWhatWasKept) {
  const Scene scene;
  Stream stream(scene.model, attention_config("attention", 0, 3));
  for (const double guidance : {1.0, 3.0, 0.0, 2.0}) {
    stream.tune(-1, guidance);
    const auto chunk = stream.next();
    EXPECT_TRUE(chunk->latent.isfinite().all().item<bool>()) << guidance;
    EXPECT_EQ(chunk->decisions, std::vector<uint8_t>({1, 1, 0, 1, 0, 1, 0, 1})) << guidance;
  }
}

// All of FasterCache. A branch that the last computed step left out has kept no outputs of that step, so it
// is computed when it runs again.
TEST(AttentionStream, ComposesWithTheCacheOfGuidance) {
  const auto recalled = [](const std::string& cache) {
    const Scene scene;
    Stream stream(scene.model, attention_config(cache, 0, 3));
    EXPECT_TRUE(stream.next()->latent.isfinite().all().item<bool>()) << cache;
    std::vector<int> counts;
    for (const auto& [condition, branch] : scene.watched->branches) counts.push_back(branch.recalled);
    std::sort(counts.begin(), counts.end());
    return counts;
  };
  using Counts = std::vector<int>;  // steps 2, 4 and 6 are skipped
  EXPECT_EQ(recalled("attention"), Counts({3 * layers, 3 * layers}));
  // Both branches run on steps 0, 2, 4 and 6. What 1, 3 and 5 left out is not recalled on 2, 4 and 6.
  EXPECT_EQ(recalled("attention+cfg_cache:start=0,refresh=2"), Counts({3 * layers}));
  // Both branches run until step 5; on 6 and 7 only the conditional one.
  EXPECT_EQ(recalled("attention+cfg_cache:start=0.7,refresh=5"), Counts({2 * layers, 3 * layers}));
}

TEST(AttentionStream, AFewStepSamplerCannotExtrapolate) {
  const auto model = tiny_model();
  model->package.sampler = {{"kind", "few_step"}, {"steps", 4}, {"shift", 5.0}};
  try {
    Stream stream(model, attention_config("attention"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("weight=0"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(Stream(model, attention_config("attention:weight=0")));
}

}  // namespace
}  // namespace flowcache
