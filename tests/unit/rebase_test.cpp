// SPDX-License-Identifier: LGPL-2.1-or-later
// Keys that are moved in time equal the keys that the network would have written there.
#include "cache/kv/rebase.h"

#include <gtest/gtest.h>

#include "base/error.h"
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
  EXPECT_EQ(positions_without_gaps({0, 0, 1, 7, 7, 9}), (std::vector<int64_t>{6, 6, 7, 8, 8, 9}));
  EXPECT_EQ(positions_without_gaps({4, 5, 6}), (std::vector<int64_t>{4, 5, 6}));
  EXPECT_EQ(positions_without_gaps({}), std::vector<int64_t>{});
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

}  // namespace
}  // namespace flowcache
