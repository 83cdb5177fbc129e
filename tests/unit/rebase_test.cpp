// SPDX-License-Identifier: LGPL-2.1-or-later
// Keys that are moved in time equal the keys that the network would have written there.
#include "cache/kv/rebase.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "cache/kv/kv_store.h"
#include "cache/registry.h"
#include "tiny_model.h"

namespace flowcache {
namespace {

constexpr int64_t head_dim = 32;
const Grid frame{1, 2, 3};  // one frame of six tokens

// x [heads, frames * 6, head_dim] as Wan rotates it for frames first_frame, first_frame + 1, …
at::Tensor roped(const at::Tensor& x, int64_t first_frame) {
  const Grid grid{x.size(1) / frame.tokens(), frame.height, frame.width};
  const RopeTable table = rope_table(grid, first_frame, head_dim, at::kCPU);
  const at::Tensor pairs = x.unflatten(-1, {head_dim / 2, 2}), a = pairs.select(-1, 0),
                   b = pairs.select(-1, 1);
  return at::stack({a * table.cos - b * table.sin, a * table.sin + b * table.cos}, -1).flatten(-2);
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(Rebase, PositionsFollowEachOtherUpToTheLast) {
  EXPECT_EQ(positions_within({0, 0, 1, 7, 7, 9}, 0), (std::vector<int64_t>{6, 6, 7, 8, 8, 9}));
  EXPECT_EQ(positions_within({4, 5, 6}, 0), (std::vector<int64_t>{4, 5, 6}));
  EXPECT_EQ(positions_within({}, 0), std::vector<int64_t>{});
}

TEST(Rebase, PositionsAreNoFurtherThanTheyMayBe) {
  const std::vector<int64_t> frames = {0, 0, 1, 7, 20, 21};
  EXPECT_EQ(positions_within(frames, 22), frames);
  EXPECT_EQ(positions_within(frames, 21), (std::vector<int64_t>{1, 1, 2, 7, 20, 21}));
  EXPECT_EQ(positions_within(frames, 16), (std::vector<int64_t>{6, 6, 7, 8, 20, 21}));
  EXPECT_EQ(positions_within(frames, 3), positions_within(frames, 0)) << "there are five frames";
  EXPECT_EQ(positions_within({5, 8}, 100), (std::vector<int64_t>{5, 8}));
}

TEST(Rebase, ARotationIsTheKeyAtTheOtherFrame) {
  const at::Tensor raw = at::randn({2, 6, head_dim});
  const auto frequencies = rope_time_frequencies(head_dim);
  for (const auto& [from, to] : std::vector<std::pair<int64_t, int64_t>>{{0, 5}, {3, 1000}, {50, 20}, {7, 7}})
    EXPECT_LT(difference(rotate_in_time(roped(raw, from), to - from, frequencies), roped(raw, to)), 2e-5)
        << from << " to " << to;
}

KvGeometry geometry() {
  return {.layers = 2,
          .kv_heads = 2,
          .head_dim = head_dim,
          .tokens_per_frame = 6,
          .tokens_per_chunk = 6,
          .window_chunks = 1,
          .time_frequencies = rope_time_frequencies(head_dim)};
}

// A sink of one frame before a window of two, for 400 chunks of one frame. The sink is moved to frame n - 2.
TEST(Rebase, ASinkFollowsTheWindowWithoutLosingPrecision) {
  KvStore store(geometry(), 18, choose_kv("window:sink_frames=1,positions=relative").make());
  std::vector<at::Tensor> raw;
  for (int64_t c = 0; c < 400; ++c) {
    raw.push_back(at::randn({2, 6, head_dim}));
    store.admit(c, c);
    for (int layer = 0; layer < 2; ++layer) {
      const at::Tensor key = roped(raw.back(), c);
      store.view(c).append(layer, key, {key, raw.back()});
    }
    store.finish(c);
    if (c < 2) continue;
    for (int layer = 0; layer < 2; ++layer) {
      const KeyValue kv = store.history(layer);
      ASSERT_LT(difference(kv.k.narrow(1, 0, 6), roped(raw[0], c - 2)), 2e-5) << c;
      ASSERT_TRUE(kv.k.narrow(1, 6, 6).equal(roped(raw[c - 1], c - 1))) << c;
      ASSERT_TRUE(kv.v.narrow(1, 0, 6).equal(raw[0])) << c;
    }
  }
}

// Up to the trained length nothing moves. From there on the sink goes along with the video, a frame at a time, so that the
// next frame is as far from it as the last trained one was: there is no step in its distance.
TEST(Rebase, ByDefaultTheSinkStaysWithinTheTrainedLength) {
  constexpr int64_t trained = 20;
  KvGeometry trained_geometry = geometry();
  trained_geometry.trained_frames = trained;
  KvStore store(trained_geometry, 18, choose_kv("window:sink_frames=1").make());
  std::vector<at::Tensor> raw;
  for (int64_t c = 0; c < 400; ++c) {
    raw.push_back(at::randn({2, 6, head_dim}));
    store.admit(c, c);
    for (int layer = 0; layer < 2; ++layer) {
      const at::Tensor key = roped(raw.back(), c);
      store.view(c).append(layer, key, {key, raw.back()});
    }
    const bool changed = store.finish(c);
    if (c < 2) continue;
    const int64_t next = c + 1, stands = std::max<int64_t>(0, next - (trained - 1));
    EXPECT_EQ(changed, c > 2) << c;  // the window moves on, or the sink does
    for (int layer = 0; layer < 2; ++layer) {
      const at::Tensor keys = store.history(layer).k;
      if (stands == 0)
        ASSERT_TRUE(keys.narrow(1, 0, 6).equal(roped(raw[0], 0))) << c;
      else
        ASSERT_LT(difference(keys.narrow(1, 0, 6), roped(raw[0], stands)), 2e-5) << c;
      ASSERT_TRUE(keys.narrow(1, 6, 6).equal(roped(raw[c - 1], c - 1))) << c;
    }
  }
}

// A budget that takes more chunks than it holds now: nothing is dropped, and the sink has to move all the same.
TEST(Rebase, TheSinkMovesAlsoWhenNothingIsDropped) {
  for (const KvPrecision precision : {KvPrecision::full, KvPrecision::int8}) {
    KvGeometry g = geometry();
    g.trained_frames = 6;
    g.precision = precision;
    KvStore store(g, 18, choose_kv("window:sink_frames=1").make());
    const at::Tensor raw = at::randn({2, 6, head_dim});
    std::vector<bool> changed;
    // The frames between are not there, as after frames that were dropped.
    for (const int64_t frame : {0, 5, 7}) {
      store.admit(frame, frame);
      for (int layer = 0; layer < 2; ++layer) store.view(frame).append(layer, raw, {roped(raw, frame), raw});
      changed.push_back(store.finish(frame));
    }
    EXPECT_EQ(changed, (std::vector<bool>{false, true, true}));
    // The next frame is 8, and 3 is as far away as it may be.
    EXPECT_LT(difference(store.history(0).k.narrow(1, 0, 6), roped(raw, 3)), 0.05);
    EXPECT_GT(difference(store.history(0).k.narrow(1, 0, 6), roped(raw, 4)), 0.1);
  }
}

// softmax(q k / sqrt(d)) of frame `at` over keys of these frames, which are at `stands`.
at::Tensor weights(const std::vector<at::Tensor>& raw, const at::Tensor& query, int64_t at,
                   const std::vector<int64_t>& stands) {
  std::vector<at::Tensor> keys;
  for (size_t i = 0; i < raw.size(); ++i) keys.push_back(roped(raw[i], stands[i]));
  const at::Tensor logits = at::matmul(roped(query, at), at::cat(keys, 1).transpose(1, 2));
  return at::softmax(logits / std::sqrt(static_cast<double>(head_dim)), -1);
}

// Why it is the default. What a frame attends at any place of the video is what the last frame of the trained length attended,
// up to rounding, because the distances are the same. Where the sink stays, they are ones that no training had.
TEST(Rebase, AttentionFarBeyondTheTrainedLengthIsThatOfItsLastFrame) {
  constexpr int64_t trained = 21;
  std::vector<at::Tensor> raw;
  for (int i = 0; i < 4; ++i) raw.push_back(at::randn({2, 6, head_dim}));
  const at::Tensor query = at::randn({2, 6, head_dim});
  const at::Tensor within = weights(raw, query, trained - 1, {0, trained - 4, trained - 3, trained - 2});
  for (const int64_t at : {int64_t{22}, int64_t{1024}, int64_t{10'000}, int64_t{1'000'000}}) {
    const std::vector<int64_t> frames = {0, at - 3, at - 2, at - 1};
    const at::Tensor moved = weights(raw, query, at, positions_within(frames, trained - 1));
    EXPECT_LT(difference(moved, within), 1e-5) << at;
    const double stayed = difference(weights(raw, query, at, frames), within);
    EXPECT_GT(stayed, at == 22 ? 1e-3 : 1e-2) << at;
  }
}

// Counting from the start of the video costs nothing without a sink: attention sees differences only, and the angles
// are made in double. In fp32, as a count that runs into the network as a number would be, they would be wrong.
TEST(Rebase, AWindowIsTheSameAtEveryPlaceOfTheVideo) {
  std::vector<at::Tensor> raw;
  for (int i = 0; i < 3; ++i) raw.push_back(at::randn({2, 6, head_dim}));
  const at::Tensor query = at::randn({2, 6, head_dim});
  const at::Tensor begin = weights(raw, query, 3, {0, 1, 2});
  for (const int64_t at : {int64_t{10'000}, int64_t{1'000'000}, int64_t{1'000'000'000}})
    EXPECT_LT(difference(weights(raw, query, at, {at - 3, at - 2, at - 1}), begin), 1e-5) << at;
  const auto frequencies = rope_time_frequencies(head_dim);
  double worst = 0;
  for (const double frequency : frequencies)
    worst = std::max(worst,
                     std::abs(std::cos(1'000'000 * frequency) -
                              static_cast<double>(std::cos(1'000'000.0F * static_cast<float>(frequency)))));
  EXPECT_GT(worst, 1e-3);
}

// Keeps the newest tokens that have drifted, and fails when it is told to.
class FailingPolicy final : public KvPolicy {
 public:
  explicit FailingPolicy(int* failures) : failures_(failures) {}
  bool needs_drift() const override { return true; }
  Positions positions() const override { return Positions::relative; }
  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
    if (*failures_ > 0 && layer.k[0][0][0].item<float>() != 0 && --*failures_ >= 0)
      throw Error(FC_ERROR_MEMORY, "no memory, says the test");
    const int64_t total = layer.k.size(1);
    EXPECT_EQ(layer.change.size(0), total);
    return at::cat({at::arange(6, at::kLong), at::arange(total - (budget - 6), total, at::kLong)});
  }

 private:
  int* failures_;
};

TEST(KvStore, WhatFailedToBecomeHistoryCanBecomeItAgain) {
  for (const KvPrecision precision : {KvPrecision::full, KvPrecision::int8}) {
    KvGeometry g = geometry();
    g.precision = precision;
    int failures = 0, none = 0;
    KvStore failing(g, 18, std::make_unique<FailingPolicy>(&failures)),
        whole(g, 18, std::make_unique<FailingPolicy>(&none));
    for (int64_t c = 0; c < 8; ++c) {
      const at::Tensor raw = draw_noise(5, c, 0, {2, 6, head_dim}, at::kCPU),
                       drift = at::full({6}, 0.5 + static_cast<double>(c));
      for (KvStore* store : {&failing, &whole}) {
        store->admit(c, c);
        for (int layer = 0; layer < 2; ++layer) store->view(c).append(layer, raw, {roped(raw, c), raw});
      }
      failures = c > 3 ? static_cast<int>(c % 3) : 0;
      for (const int times = failures; failures > 0;) {
        EXPECT_THROW(failing.finish(c, drift), Error) << times;
        EXPECT_TRUE(failing.is_in_flight(c));
      }
      EXPECT_EQ(failing.finish(c, drift), whole.finish(c, drift));
      EXPECT_FALSE(failing.is_in_flight(c));
      ASSERT_EQ(failing.history_tokens(), whole.history_tokens());
      for (int layer = 0; layer < 2; ++layer) {
        const KeyValue want = whole.history(layer);
        const at::Tensor k = want.k.clone(), v = want.v.clone();  // valid until the next call only
        const KeyValue got = failing.history(layer);
        EXPECT_TRUE(got.k.equal(k) && got.v.equal(v)) << c;
      }
    }
  }
}

TEST(Rebase, OnlyWhatCanMoveIsKeptTwice) {
  KvGeometry g = geometry();
  g.trained_frames = 20;
  const auto scratch = [&](const char* policy) { return kv_needs(g, 60, *choose_kv(policy).make()).scratch; };
  const uint64_t none = scratch("window:sink_frames=2,positions=absolute");
  // Two frames of six tokens, two layers, two heads, the numbers that turn, in fp32.
  const uint64_t turning = 2 * rope_time_frequencies(head_dim).size();
  EXPECT_EQ(scratch("window:sink_frames=2"), none + 2 * 6 * 2 * 2 * turning * 4);
  EXPECT_EQ(scratch("window"), none);
  EXPECT_EQ(scratch("ca2:positions=relative"), none);
  EXPECT_EQ(scratch("packcache"), none + 66 * 2 * 2 * turning * 4);
  g.trained_frames = 0;
  EXPECT_EQ(scratch("window:sink_frames=2"), none) << "how long it was trained on is not known";
}

// Its older frames are thinned out, so copies of some keys begin in the part that had none.
TEST(Rebase, EveryKeyOfAThinnedHistoryStandsWhereItShould) {
  KvGeometry g = geometry();
  g.trained_frames = 8;
  for (const char* spec :
       {"packcache:window=3,anchor_frames=1", "packcache:window=3,anchor_frames=1,positions=relative"}) {
    KvStore store(g, 24, choose_kv(spec).make());
    for (int64_t c = 0; c < 30; ++c) {
      // The key of a token says which frame and place it is of.
      const at::Tensor raw = draw_noise(5, c, 0, {2, 6, head_dim}, at::kCPU);
      store.admit(c, c);
      for (int layer = 0; layer < 2; ++layer) store.view(c).append(layer, raw, {roped(raw, c), raw});
      store.finish(c);
    }
    // The values were not turned: from them and the wanted positions follow the keys.
    const KeyValue kv = store.history(1);
    std::vector<int64_t> frames, places;
    for (int64_t slot = 0; slot < kv.v.size(1); ++slot)
      for (int64_t c = 0; c < 30; ++c)
        for (int64_t place = 0; place < 6; ++place)
          if (kv.v.select(1, slot).equal(draw_noise(5, c, 0, {2, 6, head_dim}, at::kCPU).select(1, place)))
            frames.push_back(c), places.push_back(place);
    ASSERT_EQ(static_cast<int64_t>(frames.size()), kv.v.size(1));
    const std::vector<int64_t> stands = positions_within(frames, *store.reach());
    EXPECT_NE(stands, frames) << spec;
    for (size_t slot = 0; slot < frames.size(); ++slot) {
      const at::Tensor raw = draw_noise(5, frames[slot], 0, {2, 6, head_dim}, at::kCPU);
      EXPECT_LT(difference(kv.k.select(1, static_cast<int64_t>(slot)),
                           roped(raw, stands[slot]).select(1, places[slot])),
                2e-5)
          << spec << " slot " << slot;
    }
  }
}

TEST(Rebase, ResetForgets) {
  KvStore store(geometry(), 18, choose_kv("window:sink_frames=1,positions=relative").make());
  const auto fill = [&] {
    for (int64_t c = 0; c < 5; ++c) {
      store.admit(c, c);
      const at::Tensor raw = at::full({2, 6, head_dim}, 1.0 + static_cast<double>(c));
      for (int layer = 0; layer < 2; ++layer) store.view(c).append(layer, raw, {roped(raw, c), raw});
      store.finish(c);
    }
    return store.history(1).k.clone();
  };
  const at::Tensor once = fill();
  store.reset();
  EXPECT_TRUE(fill().equal(once));
}

TEST(Rebase, AFamilyThatCannotMoveKeysSaysSo) {
  KvGeometry none = geometry();
  none.time_frequencies.clear();
  try {
    KvStore store(none, 18, choose_kv("packcache:positions=relative").make());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    EXPECT_NE(std::string(error.what()).find("positions=absolute"), std::string::npos);
  }
}

// If nothing is dropped, nothing is moved. After the window has moved away from the sink, the picture
// changes.
TEST(Rebase, InAStream) {
  const auto model = test::tiny_model();
  const auto last = [&](const std::string& kv, int history, int chunks) {
    model->package.cache["history_chunks"] = history;
    StreamConfig config;
    config.prompt = "fire";
    config.cache = "none";
    config.kv_cache = kv;
    Stream stream(model, config);
    for (int c = 1; c < chunks; ++c) stream.next();
    return stream.next()->latent;
  };
  EXPECT_TRUE(
      last("window:sink_frames=1,positions=relative", 5, 4).equal(last("window:sink_frames=1", 5, 4)));
  const at::Tensor relative = last("window:sink_frames=1,positions=relative", 2, 8);
  EXPECT_FALSE(relative.equal(last("window:sink_frames=1", 2, 8)));
  EXPECT_TRUE(relative.isfinite().all().item<bool>());
}

// A stream whose model says how long it was trained on: within that length every frame is the same, whatever the option says
// by default; after it the sink comes along.
TEST(Rebase, AStreamIsAsItWasUpToTheTrainedLength) {
  const auto model = test::tiny_model();
  model->package.cache["history_chunks"] = 2;
  const auto chunks = [&](const std::string& kv, int64_t trained) {
    model->package.cache["trained_frames"] = trained;
    StreamConfig config;
    config.prompt = "fire";
    config.cache = "none";
    config.kv_cache = kv;
    Stream stream(model, config);
    std::vector<at::Tensor> latents;
    for (int c = 0; c < 7; ++c) latents.push_back(stream.next()->latent);
    return latents;
  };
  const auto absolute = chunks("window:sink_frames=3,positions=absolute", 12),
             by_default = chunks("window:sink_frames=3", 12), unknown = chunks("window:sink_frames=3", 0);
  for (size_t c = 0; c < 7; ++c) {
    EXPECT_EQ(by_default[c].equal(absolute[c]), c < 4) << c;  // chunks of 3 frames
    EXPECT_TRUE(unknown[c].equal(absolute[c])) << c;
  }
  EXPECT_TRUE(chunks("window", 12)[6].equal(chunks("window:positions=absolute", 12)[6])) << "no sink, no gap";
}

}  // namespace
}  // namespace flowcache
