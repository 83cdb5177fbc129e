// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "cache/kv/kv_store.h"
#include "cache/registry.h"

using namespace flowcache;

namespace {

KvGeometry small(int64_t window = 1) {
  return {.layers = 2,
          .kv_heads = 2,
          .head_dim = 8,
          .tokens_per_frame = 4,
          .tokens_per_chunk = 12,
          .window_chunks = window};
}

// A store and a network that writes keys and values that can be recognised. Column 0 has the token's number
// in the video, column 1 has layer and head, and column 2 of a value has 0.5. The other columns are noise.
class Stream {
 public:
  Stream(const std::string& policy, int64_t budget, const KvGeometry& geometry = small())
      : geometry_(geometry), store(geometry, budget, choose_kv(policy).make()) {}

  void admit(int64_t chunk) {
    store.admit(chunk, chunk * geometry_.tokens_per_chunk / geometry_.tokens_per_frame);
  }

  KeyValue own(int64_t chunk, int layer, double column3 = 0) const {
    const int64_t n = geometry_.tokens_per_chunk;
    const at::Tensor noise = at::randn({geometry_.kv_heads, n, geometry_.head_dim},
                                       at::detail::createCPUGenerator(chunk * 97 + layer));
    at::Tensor k = noise.clone(), v = noise.clone();
    for (at::Tensor* one : {&k, &v}) {
      one->select(2, 0).copy_(at::arange(chunk * n, (chunk + 1) * n, at::kFloat));
      for (int64_t h = 0; h < geometry_.kv_heads; ++h) one->select(2, 1)[h].fill_(layer * 10 + h);
      one->select(2, 3).fill_(column3);
    }
    v.select(2, 2).fill_(0.5);
    k.select(2, 2).fill_(0);
    return {k, v};
  }

  KeyValue append(int64_t chunk, int layer, double column3 = 0) {
    const at::Tensor q = at::randn({2 * geometry_.kv_heads, geometry_.tokens_per_chunk, geometry_.head_dim},
                                   at::detail::createCPUGenerator(chunk * 31 + layer));
    return store.view(chunk).append(layer, q, own(chunk, layer, column3));
  }

  void compute(int64_t chunk, double column3 = 0) {
    for (int layer = 0; layer < geometry_.layers; ++layer) append(chunk, layer, column3);
  }

  bool whole_chunk(int64_t chunk) {
    admit(chunk);
    compute(chunk);
    return finish(chunk);
  }

  // If the policy looks at changes, gives it one for every token: token t of the video has changed by t /
  // 1000.
  bool finish(int64_t chunk) {
    const int64_t n = geometry_.tokens_per_chunk;
    if (store.policy().needs_change(8) < 0 && !store.policy().needs_drift()) return store.finish(chunk);
    return store.finish(chunk, at::arange(chunk * n, (chunk + 1) * n, at::kFloat) / 1000);
  }

  std::vector<int64_t> tokens(const at::Tensor& keys, int64_t head = 0) const {
    const at::Tensor column = keys[head].select(1, 0).to(at::kLong).contiguous();
    return {column.const_data_ptr<int64_t>(), column.const_data_ptr<int64_t>() + column.numel()};
  }

 private:
  KvGeometry geometry_;

 public:
  KvStore store;
};

std::vector<int64_t> range(int64_t begin, int64_t end) {
  std::vector<int64_t> all;
  for (int64_t i = begin; i < end; ++i) all.push_back(i);
  return all;
}

// Checks that keys and values of a history belong together and to their layer and head.
void expect_intact(const KvStore& store, int layers) {
  for (int layer = 0; layer < layers; ++layer) {
    const KeyValue kv = store.history(layer);
    EXPECT_TRUE(at::equal(kv.k.narrow(2, 0, 2), kv.v.narrow(2, 0, 2)));
    EXPECT_TRUE(at::equal(kv.k.narrow(2, 4, 4), kv.v.narrow(2, 4, 4)));
    EXPECT_TRUE((kv.k.select(2, 2) == 0).all().item<bool>());
    EXPECT_TRUE((kv.v.select(2, 2) == 0.5).all().item<bool>());
    for (int64_t h = 0; h < kv.k.size(0); ++h)
      EXPECT_TRUE((kv.k[h].select(1, 1) == layer * 10 + h).all().item<bool>());
  }
}

std::string message_of(const std::function<void()>& action, fc_status status) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

}  // namespace

TEST(KvStore, AChunkAttendsHistoryAndItselfLast) {
  Stream s("full", 100);
  s.whole_chunk(0);
  s.admit(1);
  const KeyValue seen = s.append(1, 1);
  EXPECT_EQ(s.tokens(seen.k, 1), range(0, 24));
  EXPECT_EQ(s.tokens(seen.v, 1), range(0, 24));
  EXPECT_EQ(seen.k.stride(2), 1);
  EXPECT_EQ(seen.v.stride(2), 1);
}

TEST(KvStore, EveryForwardOverwritesTheChunksSlots) {
  Stream s("full", 100);
  s.admit(0);
  s.compute(0, 1.0);
  const KeyValue seen = s.append(0, 0, 2.0);
  EXPECT_EQ(seen.k.size(1), 12);
  EXPECT_TRUE((seen.k.select(2, 3) == 2).all().item<bool>());
}

TEST(KvStore, ChunksInFlightSeeOlderOnesAsTheyWereLastComputed) {
  Stream s("full", 100, small(3));
  s.whole_chunk(0);
  s.admit(1);
  s.compute(1, 1.0);
  s.admit(2);
  s.admit(3);
  s.compute(3);
  const KeyValue two = s.append(2, 0);
  EXPECT_EQ(s.tokens(two.k), range(0, 36));  // without the younger chunk and without free slots
  EXPECT_TRUE((two.k.select(2, 3).narrow(1, 12, 12) == 1).all().item<bool>());
  EXPECT_EQ(s.tokens(s.append(1, 0, 2.0).k), range(0, 24));
  EXPECT_EQ(s.tokens(s.append(3, 0).k), range(0, 48));
  EXPECT_TRUE((s.append(3, 0).k.select(2, 3).narrow(1, 12, 12) == 2).all().item<bool>());
}

TEST(KvStore, WindowKeepsTheMostRecentAndChunksInFlightMoveWithIt) {
  Stream s("window", 24, small(2));
  s.admit(0);
  s.compute(0);
  bool dropped = false;
  for (int64_t c = 1; c < 6; ++c) {
    s.admit(c);
    s.compute(c);
    dropped = s.store.finish(c - 1);
    EXPECT_EQ(dropped, c - 1 >= 2) << c;
    EXPECT_EQ(s.tokens(s.store.history(1).k, 1), range(std::max<int64_t>(0, (c - 2) * 12), c * 12));
    // The younger chunk's keys are found at their new place, without being computed again.
    const KeyValue seen = s.append(c, 0);
    EXPECT_EQ(s.tokens(seen.k).back(), c * 12 + 11);
    EXPECT_EQ(s.tokens(seen.k).front(), s.tokens(s.store.history(0).k).front());
  }
  expect_intact(s.store, 2);
}

TEST(KvStore, SinksAreNeverDropped) {
  Stream s("window:sink_frames=2", 24);
  for (int64_t c = 0; c < 50; ++c) {
    s.whole_chunk(c);
    if (c < 2) continue;
    std::vector<int64_t> want = range(0, 8), recent = range((c + 1) * 12 - 16, (c + 1) * 12);
    want.insert(want.end(), recent.begin(), recent.end());
    for (int layer = 0; layer < 2; ++layer) EXPECT_EQ(s.tokens(s.store.history(layer).k, 1), want);
  }
}

TEST(KvStore, WindowKeepsWholeFrames) {
  Stream s("window", 27);
  for (int64_t c = 0; c < 4; ++c) s.whole_chunk(c);
  EXPECT_EQ(s.store.history_tokens(), 24);
}

TEST(KvStore, CompressionGathersValuesWithTheirKeysPerHead) {
  Stream s("flowcache", 20, small(2));
  for (int64_t c = 0; c < 6; ++c) {
    s.admit(c);
    s.compute(c);
    if (c > 0) s.store.finish(c - 1);
  }
  expect_intact(s.store, 2);
  EXPECT_EQ(s.store.history_tokens(), 20);
  const std::vector<int64_t> head0 = s.tokens(s.store.history(0).k, 0),
                             head1 = s.tokens(s.store.history(0).k, 1);
  EXPECT_NE(head0, head1);  // each head keeps its own tokens
  EXPECT_TRUE(std::is_sorted(head0.begin(), head0.end()));
  EXPECT_EQ(std::set<int64_t>(head1.begin(), head1.end()).size(), 20u);
  EXPECT_EQ(s.tokens(s.append(5, 0).k).size(), 32u);
  EXPECT_EQ(s.tokens(s.append(5, 0).k).back(), 71);
}

TEST(KvStore, ReferenceOrderKeepsTheSameTokens) {
  const ParityOptions parity;
  Stream time("flowcache:order=time", 20), score("flowcache:order=score", 20);
  for (int64_t c = 0; c < 2; ++c) {
    time.whole_chunk(c);
    score.whole_chunk(c);
  }
  for (int64_t head : {0, 1}) {
    std::vector<int64_t> got = score.tokens(score.store.history(1).k, head);
    EXPECT_FALSE(std::is_sorted(got.begin(), got.end()));
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, time.tokens(time.store.history(1).k, head));
  }
  expect_intact(score.store, 2);
}

TEST(KvStore, UnitsAreKeptWhole) {
  for (const auto& [spec, unit] :
       {std::pair("flowcache:unit=frame", 4), std::pair("flowcache:unit=chunk", 12)}) {
    Stream s(spec, 24);
    for (int64_t c = 0; c < 5; ++c) s.whole_chunk(c);
    const std::vector<int64_t> kept = s.tokens(s.store.history(0).k);
    for (size_t i = 0; i < kept.size(); ++i)
      EXPECT_EQ(kept[i] % unit, static_cast<int64_t>(i) % unit) << spec;
  }
}

TEST(KvStore, BudgetForEverythingEqualsFull) {
  for (const auto& entry : kv_policies()) {
    Stream some(entry.name, 60), all("full", 60);
    for (int64_t c = 0; c < 5; ++c) EXPECT_EQ(some.whole_chunk(c), all.whole_chunk(c)) << entry.name;
    for (int layer = 0; layer < 2; ++layer) {
      EXPECT_TRUE(at::equal(some.store.history(layer).k, all.store.history(layer).k)) << entry.name;
      EXPECT_TRUE(at::equal(some.store.history(layer).v, all.store.history(layer).v)) << entry.name;
    }
  }
}

TEST(KvStore, NeverExceedsItsBudgetAndNeverGrows) {
  for (const auto& entry : kv_policies()) {
    if (!entry.make(choose_kv(entry.name).options)->drops()) continue;
    Stream s(entry.name, 36, small(2));
    s.admit(0);
    const void* address = s.append(0, 0).k.const_data_ptr();
    const uint64_t allocated = s.store.allocated_bytes();
    s.compute(0);
    for (int64_t c = 1; c < 300; ++c) {
      s.admit(c);
      s.compute(c);
      s.finish(c - 1);
      ASSERT_LE(s.store.history_tokens(), 36) << entry.name;
      ASSERT_LE(s.store.history_bytes(), s.store.budget_bytes()) << entry.name;
      ASSERT_EQ(s.append(c, 0).k.const_data_ptr(), address) << entry.name;
    }
    EXPECT_EQ(s.store.allocated_bytes(), allocated);
    EXPECT_EQ(s.store.history_tokens(), 36) << entry.name;
    expect_intact(s.store, 2);
  }
}

// Tokens 12..23 have changed by 0.012..0.023. With a threshold of 0.018 those from 19 on are kept.
TEST(KvStore, DecoPruneKeepsWhatChangedMost) {
  Stream s("decoprune:threshold=0.018,sink_chunks=1,recent_chunks=1", 30);
  for (int64_t c = 0; c < 3; ++c) s.whole_chunk(c);
  std::vector<int64_t> wanted = range(0, 12);
  for (const int64_t token : range(18, 24))
    wanted.push_back(token);  // 19..23, and the newest of the unchanged ones
  for (const int64_t token : range(24, 36)) wanted.push_back(token);
  EXPECT_EQ(s.tokens(s.store.history(0).k), wanted);
  EXPECT_EQ(s.tokens(s.store.history(1).k, 1), wanted);
  expect_intact(s.store, 2);
  s.whole_chunk(3);  // now chunk 2 may lose tokens, and its tokens changed more than those of chunk 1
  wanted = range(0, 12);
  for (const int64_t token : range(30, 48)) wanted.push_back(token);
  EXPECT_EQ(s.tokens(s.store.history(0).k), wanted);
}

// Chunk 0 is the sink. Chunks 1 to 3 drift alike; in chunk 4 three tokens lie far off, and the budget holds three chunks.
TEST(KvStore, TokenTrimDropsWhatDriftedAndKeepsOlderTokensInItsPlace) {
  Stream s("tokentrim:share=0.25,deviations=2,sink_chunks=1", 36);
  const auto whole_chunk = [&](int64_t chunk, const at::Tensor& drift) {
    s.admit(chunk);
    s.compute(chunk);
    s.store.finish(chunk, drift);
  };
  whole_chunk(0, at::zeros({12}));
  for (int64_t chunk = 1; chunk < 4; ++chunk) whole_chunk(chunk, at::full({12}, chunk % 2 ? 0.101 : 0.1));
  std::vector<int64_t> wanted = range(0, 12);
  for (const int64_t token : range(24, 48)) wanted.push_back(token);
  EXPECT_EQ(s.tokens(s.store.history(0).k), wanted);  // nothing was out of the ordinary: a window with a sink

  at::Tensor drift = at::full({12}, 0.1);
  for (const int64_t token : {2, 3, 7}) drift[token] = 0.5;
  whole_chunk(4, drift);
  wanted = range(0, 12);
  for (const int64_t token : range(33, 60))
    if (token != 48 + 2 && token != 48 + 3 && token != 48 + 7) wanted.push_back(token);
  EXPECT_EQ(s.tokens(s.store.history(0).k), wanted);
  EXPECT_EQ(s.tokens(s.store.history(1).k, 1), wanted);
  expect_intact(s.store, 2);
  whole_chunk(5,
              at::full({12}, 0.101));  // what is dropped does not come back, and is no measure for the next
  const std::vector<int64_t> after = s.tokens(s.store.history(0).k);
  EXPECT_EQ(after.size(), 36u);
  EXPECT_EQ(std::count(after.begin(), after.end(), 50), 0);
  EXPECT_EQ(std::count(after.begin(), after.end(), 62), 1);
}

// A chunk that the stream was given has no change; the policies that look at it take it as unchanged.
TEST(KvStore, GivenFramesHaveNoChange) {
  for (const char* spec : {"decoprune", "tokentrim"}) {
    Stream s(spec, 36);
    for (int64_t chunk = 0; chunk < 5; ++chunk) {
      s.admit(chunk);
      s.compute(chunk);
      if (chunk < 2)
        s.store.finish(chunk);
      else
        s.finish(chunk);
    }
    EXPECT_EQ(s.store.history_tokens(), 36) << spec;
    expect_intact(s.store, 2);
  }
}

TEST(KvStore, BytesAreExact) {
  Stream s("window", 24, small(2));
  const uint64_t token = 2 * 2 * 2 * 8 * 4;  // K and V, layers, heads, width, fp32
  EXPECT_EQ(s.store.budget_bytes(), 24 * token);
  const uint64_t origin = 2 * 2 * 8;  // where each token comes from: layers, heads, an int64
  EXPECT_EQ(s.store.allocated_bytes(), (24 + 2 * 12) * (token + origin));
  EXPECT_EQ(s.store.history_bytes(), 0u);
  s.whole_chunk(0);
  EXPECT_EQ(s.store.history_bytes(), 12 * token);
  KvGeometry half = small();
  half.dtype = at::kBFloat16;
  EXPECT_EQ(half.bytes(12), 12 * token / 2);
}

// MAGI-1 with B_total slots, four chunks in flight, 64 steps. A budget of B_total - 4 chunks drops tokens at
// the same steps and in the same numbers as the reference's tracker.
TEST(KvStore, ShrinksAtTheReferencesSteps) {
  const std::map<int64_t, std::vector<int>> wanted = {
      {5, {79, 95, 111, 127, 143}}, {6, {95, 111, 127, 143}}, {7, {111, 127, 143}}};
  for (const auto& [total, steps] : wanted) {
    Stream s("flowcache", (total - 4) * 12, small(4));
    std::vector<int> shrunk;
    for (int g = 0; g <= 143; ++g) {
      if (g % 16 == 0) {
        s.admit(g / 16);
        s.compute(g / 16);
      }
      const int64_t finished = (g - 63) / 16;
      if (g >= 63 && g % 16 == 15 && s.store.finish(finished)) shrunk.push_back(g);
    }
    EXPECT_EQ(shrunk, steps) << total;
    EXPECT_EQ(s.store.history_tokens(), (total - 4) * 12);
  }
}

TEST(KvStore, AttentionDoesNotDependOnTheOrderOfTheSlots) {
  // Keeps all, but by falling score. Softmax attention over the history is the same, except for rounding.
  Stream s("full", 24);
  for (int64_t c = 0; c < 2; ++c) s.whole_chunk(c);
  const KeyValue kv = s.store.history(0);
  const ParityOptions parity;
  const auto policy = choose_kv("flowcache:order=score").make();
  policy->begin(4, 12, 24);
  const at::Tensor q = at::randn({4, 12, 8});
  const at::Tensor slots =
      policy->keep({.k = kv.k, .v = kv.v, .queries = q, .tokens_per_frame = 4, .tokens_per_chunk = 12}, 24);
  const at::Tensor index = slots.unsqueeze(-1).expand({2, 24, 8});
  const auto attend = [&](const at::Tensor& k, const at::Tensor& v) {
    return at::matmul(at::matmul(q.narrow(0, 0, 2), k.transpose(1, 2)).softmax(-1), v);
  };
  EXPECT_TRUE(
      at::allclose(attend(kv.k, kv.v), attend(kv.k.gather(1, index), kv.v.gather(1, index)), 1e-4, 1e-4));
}

TEST(KvStore, ResetKeepsTheAllocationAndNothingElse) {
  Stream s("flowcache", 20), fresh("flowcache", 20);
  for (int64_t c = 0; c < 9; ++c) s.whole_chunk(c + 3);
  const uint64_t allocated = s.store.allocated_bytes();
  s.store.reset();
  EXPECT_EQ(s.store.history_tokens(), 0);
  EXPECT_EQ(s.store.allocated_bytes(), allocated);
  for (int64_t c = 0; c < 4; ++c) {
    s.whole_chunk(c);
    fresh.whole_chunk(c);
  }
  for (int layer = 0; layer < 2; ++layer) {
    EXPECT_TRUE(at::equal(s.store.history(layer).k, fresh.store.history(layer).k));
    EXPECT_TRUE(at::equal(s.store.history(layer).v, fresh.store.history(layer).v));
  }
}

TEST(KvStore, ForgettingHistoryLeavesTheChunksInFlight) {
  Stream s("window", 36, small(2));
  for (int64_t c = 0; c < 3; ++c) {
    s.admit(c);
    s.compute(c);
    if (c > 0) s.finish(c - 1);
  }
  EXPECT_TRUE(s.store.forget_history());
  EXPECT_FALSE(s.store.forget_history());
  EXPECT_EQ(s.store.history_tokens(), 0);
  EXPECT_EQ(s.tokens(s.append(2, 0).k), range(24, 36));
  s.admit(3);
  EXPECT_EQ(s.tokens(s.append(3, 1).k, 1), range(24, 48));
  s.finish(2);
  expect_intact(s.store, 2);
}

TEST(KvStore, OneHeadOneQueryHead) {
  KvGeometry geometry = small();
  geometry.kv_heads = 1;
  Stream s("flowcache", 14, geometry);
  for (int64_t c = 0; c < 4; ++c) s.whole_chunk(c);
  EXPECT_EQ(s.store.history_tokens(), 14);
}

TEST(KvStore, HalfPrecisionBuffer) {
  KvGeometry geometry = small();
  geometry.dtype = at::kBFloat16;
  Stream s("flowcache", 20, geometry);
  for (int64_t c = 0; c < 4; ++c) s.whole_chunk(c);
  EXPECT_EQ(s.store.history(0).k.scalar_type(), at::kBFloat16);
  EXPECT_EQ(s.store.history_tokens(), 20);
}

TEST(KvStore, OriginFollowsEachTokenThroughEveryShrinking) {
  struct Spy final : KvPolicy {
    bool needs_queries() const override { return true; }
    at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
      EXPECT_TRUE(at::equal(layer.k.select(2, 0).to(at::kLong), layer.origin));
      EXPECT_EQ(layer.queries.sizes(), (std::vector<int64_t>{4, 12, 8}));
      at::Tensor even = at::arange(0, budget, at::kLong), odd = even + (layer.k.size(1) - budget);
      return at::stack({even, odd});  // head 0 keeps the oldest, head 1 the newest
    }
  };
  KvStore store(small(), 20, std::make_unique<Spy>());
  Stream numbers("full", 100);
  for (int64_t c = 0; c < 7; ++c) {
    store.admit(c, c * 3);
    for (int layer = 0; layer < 2; ++layer)
      store.view(c).append(layer, at::zeros({4, 12, 8}), numbers.own(c, layer));
    store.finish(c);
  }
  EXPECT_EQ(numbers.tokens(store.history(0).k, 0), range(0, 20));
  EXPECT_EQ(numbers.tokens(store.history(0).k, 1), range(64, 84));
}

TEST(KvStore, BudgetSmallerThanAChunkNamesBothSizes) {
  KvGeometry wan{.layers = 30,
                 .kv_heads = 12,
                 .head_dim = 128,
                 .tokens_per_frame = 1560,
                 .tokens_per_chunk = 4680,
                 .dtype = at::kBFloat16};
  const std::string message =
      message_of([&] { KvStore(wan, 2778, choose_kv("window").make()); }, FC_ERROR_ARGUMENT);
  for (const char* word : {"4680 tokens", "863 MB", "512 MB", "kv-budget"})
    EXPECT_NE(message.find(word), std::string::npos) << word << " in: " << message;
}

TEST(KvStore, FullEndsTheStreamAndSaysWhatToDo) {
  Stream s("full", 24);
  s.whole_chunk(0);
  s.whole_chunk(1);
  s.admit(2);
  s.compute(2);
  const std::string message = message_of([&] { s.store.finish(2); }, FC_ENDED);
  for (const char* word : {"chunk 2", "kv-budget", "window"})
    EXPECT_NE(message.find(word), std::string::npos) << message;
  EXPECT_EQ(s.store.history_tokens(), 24);
}

TEST(KvStore, OptionsThatDoNotFitTheBudgetAreRefusedAtOnce) {
  const std::string sink =
      message_of([&] { KvStore(small(), 24, choose_kv("window:sink_frames=6").make()); }, FC_ERROR_ARGUMENT);
  EXPECT_NE(sink.find("6 frames"), std::string::npos) << sink;
  const std::string unit =
      message_of([&] { KvStore(small(), 30, choose_kv("flowcache:unit=chunk").make()); }, FC_ERROR_ARGUMENT);
  EXPECT_NE(unit.find("12"), std::string::npos) << unit;
}

TEST(KvStore, MisuseIsADefectNotACrash) {
  Stream s("window", 24, small(2));
  s.admit(0);
  s.admit(1);
  message_of([&] { s.admit(2); }, FC_ERROR_INTERNAL);
  message_of([&] { s.store.finish(1); }, FC_ERROR_INTERNAL);
  message_of([&] { s.store.view(7); }, FC_ERROR_INTERNAL);
  message_of([&] { s.store.view(0).append(2, at::zeros({4, 12, 8}), s.own(0, 0)); }, FC_ERROR_INTERNAL);
  message_of(
      [&] {
        s.store.view(0).append(0, at::zeros({4, 11, 8}), {at::zeros({2, 11, 8}), at::zeros({2, 11, 8})});
      },
      FC_ERROR_INTERNAL);
}
