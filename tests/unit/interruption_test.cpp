// SPDX-License-Identifier: LGPL-2.1-or-later
// A stream that is cancelled in the middle of the network: it stops at once, and what comes after is as if nothing had
// happened. A network that counts what it is asked for cancels at a given place, so no test depends on time.
#include "base/interruption.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "flash_attention.h"
#include "networks/linear.h"
#include "networks/row_ranges.h"
#include "temp_folder.h"
#include "tiny_model.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

// A KvView that tells before each layer.
class ToldView final : public KvView {
 public:
  ToldView(KvView& inner, const std::function<void()>& tell) : inner_(inner), tell_(tell) {}
  KvPlace place() const override { return inner_.place(); }
  KeyValue slots(int layer) override { return inner_.slots(layer); }
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    tell_();
    return inner_.append(layer, q, own);
  }

 private:
  KvView& inner_;
  const std::function<void()>& tell_;
};

// Counts places, of which each layer is one and each condition, and calls a function at one of them.
class Counted final : public test::WrappedTransformer {
 public:
  using WrappedTransformer::WrappedTransformer;
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override {
    tell_();
    return WrappedTransformer::condition(features);
  }
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override {
    ToldView view(kv, tell_);
    return WrappedTransformer::blocks(embedded, std::move(tokens), condition, view, first, last);
  }
  mutable int places = 0;
  int at = -1;
  std::function<void()> then = [] {};

 private:
  std::function<void()> tell_ = [this] {
    if (++places == at) then();
  };
};

struct Made {
  std::vector<at::Tensor> frames;
  std::vector<std::vector<uint8_t>> decisions;
  std::vector<double> flops;
  int places = 0, cancelled = 0;
};

using Before = std::function<void(Stream&, int chunk)>;  // what is done before a chunk

// Chunks of a stream that is cancelled at place `at` of the network; -1: nowhere.
Made made(const StreamConfig& config, int at, const Before& before = nullptr, int chunks = 3) {
  const auto model = test::tiny_model();
  model->package.seam_fade_frames = 2;
  model->package.cache["on_cut"] = "forget";
  Counted* const network = test::wrap_transformer<Counted>(*model);
  Stream stream(model, config);
  network->places = 0;
  network->at = at;
  network->then = [&] { stream.cancel(); };
  Made result;
  for (int i = 0; i < chunks; ++i) {
    if (before) before(stream, i);
    while (static_cast<int>(result.frames.size()) == i) {
      try {
        const auto chunk = stream.next();
        result.frames.push_back(chunk->frames);
        result.decisions.push_back(chunk->decisions);
        result.flops.push_back(chunk->flops);
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), FC_CANCELLED) << error.what();
        ++result.cancelled;
        // The layer in which it was cancelled is the last one that was begun.
        EXPECT_EQ(network->places, at);
      }
    }
  }
  result.places = network->places;
  return result;
}

// recached: the operations of a re-cache that was stopped count, too.
void expect_equal_wherever_cancelled(const StreamConfig& config, const Before& before = nullptr,
                                     bool recached = false) {
  const c10::InferenceMode inference;
  const Made whole = made(config, -1, before);
  ASSERT_EQ(whole.cancelled, 0);
  for (int at = 1; at <= whole.places; at += whole.places > 40 ? 3 : 1) {
    const Made other = made(config, at, before);
    EXPECT_EQ(other.cancelled, 1);
    for (size_t i = 0; i < whole.frames.size(); ++i) {
      EXPECT_TRUE(other.frames[i].equal(whole.frames[i]))
          << config.cache << ", place " << at << ", chunk " << i;
      EXPECT_EQ(other.decisions[i], whole.decisions[i]);
      EXPECT_TRUE(other.flops[i] == whole.flops[i] || (recached && other.flops[i] > whole.flops[i]));
    }
  }
}

StreamConfig short_config(const std::string& cache) {
  return {.prompt = "fire",
          .negative_prompt = "ice",
          .seed = 5,
          .cache = cache,
          .kv_cache = "window",
          .threshold = 1,
          .steps = 5};
}

TEST(Interruption, FramesAreThoseOfAStreamThatWasNotCancelled) {
  for (const char* cache : {"none", "flowcache", "taylorseer", "attention", "xchunk:angle=2", "dbcache",
                            "mixcache", "magcache", "forecast", "teacache_joint"})
    expect_equal_wherever_cancelled(short_config(cache));
}

TEST(Interruption, WithGuidanceAndWithSeveralChunksInFlight) {
  for (const char* cache : {"flowcache", "attention", "ramp+cfg_cache"}) {
    StreamConfig config = short_config(cache);
    config.guidance = 3;
    config.kv_cache = "flowcache";
    expect_equal_wherever_cancelled(config);
    config.lag = 2;
    expect_equal_wherever_cancelled(config);
  }
}

// Given frames, a cut that forgets the history, a re-cache, a negative prompt: all that a chunk's admission does.
TEST(Interruption, WhileAChunkIsAdmitted) {
  const c10::InferenceMode inference;
  StreamConfig config = short_config("flowcache");
  config.guidance = 3;
  config.initial_latents = draw_noise(7, 0, 0, {16, 6, 6, 8}, at::kCPU);
  expect_equal_wherever_cancelled(config, [](Stream& stream, int chunk) {
    if (chunk != 1) return;
    stream.prompt("snow", FC_NEXT_CHUNK, 0);
    stream.negative_prompt("fog");
  });
  expect_equal_wherever_cancelled(
      config,
      [](Stream& stream, int chunk) {
        if (chunk == 2) stream.prompt("snow", FC_NEXT_CHUNK, FC_PROMPT_RECACHE);
      },
      true);
}

TEST(Interruption, TellsHowFarAStepIs) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  Counted* const network = test::wrap_transformer<Counted>(*model);
  StreamConfig config = short_config("none");
  config.guidance = 3;
  Stream stream(model, config);
  EXPECT_EQ(stream.stats().step_layers, 0);
  std::vector<std::pair<int, int>> seen;
  network->places = 0;
  network->then = [&] {
    const StreamStats now = stream.stats();
    seen.emplace_back(now.step_layers_reached, now.step_layers);
    ++network->at;
  };
  network->at = 3;  // behind the two conditions
  stream.next();
  const std::vector<std::pair<int, int>> begin(seen.begin(), seen.begin() + 6);
  // Two layers in two branches, and the next step begins anew.
  EXPECT_EQ(begin, (std::vector<std::pair<int, int>>{{0, 4}, {1, 4}, {2, 4}, {3, 4}, {0, 4}, {1, 4}}));
  EXPECT_EQ(stream.stats().step_layers, 0);
}

TEST(Interruption, AnotherThreadsStreamGoesOn) {
  Interruption one;
  one.asked = true;
  EXPECT_NO_THROW(stop_if_asked());
  {
    const Interruptible here(&one);
    EXPECT_THROW(stop_if_asked(), Error);
    {
      const Interruptible never(nullptr);
      EXPECT_NO_THROW(stop_if_asked());
    }
    EXPECT_THROW(layer_reached(), Error);
  }
  EXPECT_NO_THROW(layer_reached());
  EXPECT_EQ(one.layers, 0u);
}

// A layer of a large model takes seconds, so it stops within one: between rows, heads, and products.
TEST(Interruption, StopsWithinALayer) {
  const c10::InferenceMode inference;
  Interruption one;
  const Interruptible here(&one);
  std::atomic<int> ranges{0};
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const auto run = [&] {
    for_row_ranges(at::kCPU, 6400, 0, [&](int64_t, int64_t) {
      if (++ranges == 3) one.asked = true;
    });
  };
  EXPECT_NE(test::message_of(run).find("cancelled"), std::string::npos);
  at::set_num_threads(threads);
  EXPECT_LE(ranges, 4);  // of 100; the other thread may be in one
  const at::Tensor q = at::ones({2, 4, 16});
  EXPECT_NE(test::message_of([&] { flash_attention(q, q, q); }).find("cancelled"), std::string::npos);
  one.asked = false;
  const Linear linear(at::ones({8, 16}), {}, at::kFloat, at::kCPU);
  const Matrix matrix(at::ones({8, 16}), at::kFloat, at::kCPU);
  one.asked = true;
  EXPECT_NE(test::message_of([&] { linear(at::ones({3, 16})); }).find("cancelled"), std::string::npos);
  EXPECT_NE(test::message_of([&] {
              matrix.product(at::ones({3, 16}));
            }).find("cancelled"),
            std::string::npos);
}

}  // namespace
}  // namespace flowcache
