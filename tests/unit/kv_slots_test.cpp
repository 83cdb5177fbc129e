// SPDX-License-Identifier: LGPL-2.1-or-later
// A network that writes keys and values straight into the cache's slots computes what it computes with a copy.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "attention_notes.h"
#include "cache/kv/kv_store.h"
#include "cache/registry.h"
#include "tiny_model.h"

namespace flowcache {
namespace {

constexpr int slot_layers = 2;
constexpr int64_t slot_tokens = 36;  // of a chunk of tiny_model.h

// Chunk 0 is history, chunks 1 and 2 are in flight.
class SlotCache {
 public:
  SlotCache() : store_(geometry(), 3 * slot_tokens, choose_kv("window").make()) {
    at::manual_seed(3);
    for (const int64_t chunk : {0, 1, 2}) {
      store_.admit(chunk, 3 * chunk);
      for (int layer = 0; layer < slot_layers; ++layer) {
        const at::Tensor noise = at::randn({3, 2, slot_tokens, 32});
        store_.view(chunk).append(layer, noise[0], {noise[1], noise[2]});
      }
      if (chunk == 0) store_.finish(0);
    }
  }
  KvView& view(int64_t chunk) { return store_.view(chunk); }
  // Keys and values of all chunks, [layers, 2, kv_heads, 3 * tokens, head_dim].
  at::Tensor all() {
    std::vector<at::Tensor> layers;
    for (int layer = 0; layer < slot_layers; ++layer) {
      const KeyValue last = view(2).slots(layer);
      const KeyValue attended = view(2).append(layer, last.k, last);
      layers.push_back(at::stack({attended.k, attended.v}));
    }
    return at::stack(layers);
  }

 private:
  static KvGeometry geometry() {
    return {.layers = slot_layers,
            .kv_heads = 2,
            .head_dim = 32,
            .tokens_per_frame = slot_tokens / 3,
            .tokens_per_chunk = slot_tokens,
            .window_chunks = 2};
  }
  KvStore store_;
};

// A view that has slots or hides them, and counts the appended keys that lay in them.
class WatchedSlots final : public KvView {
 public:
  WatchedSlots(KvView& all, bool hides) : all_(all), hides_(hides) {}
  KeyValue slots(int layer) override { return hides_ ? KeyValue{} : all_.slots(layer); }
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    const KeyValue place = all_.slots(layer);
    in_place += own.k.data_ptr() == place.k.data_ptr() && own.v.data_ptr() == place.v.data_ptr();
    return all_.append(layer, q, own);
  }
  int in_place = 0;

 private:
  KvView& all_;
  bool hides_;
};

at::Tensor run_chunk_one(const Transformer& network, KvView& kv, AttentionMemory* memory = nullptr,
                         bool keys_only = false) {
  at::manual_seed(5);
  const double t = 700;
  Embedded embedded = network.embed(at::randn({16, 3, 6, 8}), {&t, 1}, 3);
  embedded.attention = memory;
  embedded.keys_only = keys_only;
  return network.blocks(embedded, embedded.tokens, *network.condition(at::randn({4, 48})), kv, 0,
                        slot_layers);
}

TEST(KvSlots, AreTheChunksOwnPartOfTheBuffer) {
  const c10::InferenceMode inference;
  SlotCache cache;
  const at::Tensor before = cache.all().clone();
  const KeyValue slots = cache.view(1).slots(1);
  ASSERT_EQ(slots.k.sizes(), (std::array<int64_t, 3>{2, slot_tokens, 32}));
  slots.k.fill_(7);
  slots.v.fill_(8);
  const KeyValue attended = cache.view(1).append(1, slots.k, slots);
  EXPECT_EQ(attended.k.size(1), 2 * slot_tokens);
  EXPECT_TRUE((attended.k.narrow(1, slot_tokens, slot_tokens) == 7).all().item<bool>());
  EXPECT_TRUE((attended.v.narrow(1, slot_tokens, slot_tokens) == 8).all().item<bool>());
  at::Tensor want = before;
  want[1][0].narrow(1, slot_tokens, slot_tokens).fill_(7);
  want[1][1].narrow(1, slot_tokens, slot_tokens).fill_(8);
  EXPECT_TRUE(at::equal(cache.all(), want));
}

// Each of the two is copied if it lies elsewhere.
TEST(KvSlots, KeysAndValuesStandAlone) {
  const c10::InferenceMode inference;
  SlotCache cache;
  const KeyValue slots = cache.view(1).slots(0);
  const at::Tensor keys = at::randn(slots.k.sizes()), values = slots.v.clone();
  const KeyValue attended = cache.view(1).append(0, slots.k, {keys, slots.v});
  EXPECT_TRUE(at::equal(attended.k.narrow(1, slot_tokens, slot_tokens), keys));
  EXPECT_TRUE(at::equal(attended.v.narrow(1, slot_tokens, slot_tokens), values));
  cache.view(1).append(0, slots.k, {slots.k, keys});
  EXPECT_TRUE(at::equal(attended.k.narrow(1, slot_tokens, slot_tokens), keys));
  EXPECT_TRUE(at::equal(attended.v.narrow(1, slot_tokens, slot_tokens), keys));
}

TEST(KvSlots, ViewsWithoutACacheHaveNone) {
  OwnKeys own;
  EXPECT_FALSE(own.slots(0).k.defined());
  const c10::InferenceMode inference;
  SlotCache cache;
  NewestKeys newest(cache.view(1), slot_tokens);
  EXPECT_EQ(newest.slots(0).k.data_ptr(), cache.view(1).slots(0).k.data_ptr());
}

// On any number of threads, with and without what follows the last keys.
TEST(KvSlots, WanWritesIntoThemAndComputesTheSame) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  const int before = at::get_num_threads();
  for (const int threads : {1, 2})
    for (const bool keys_only : {false, true}) {
      at::set_num_threads(threads);
      SlotCache copied, direct;
      WatchedSlots hidden(copied.view(1), true), shown(direct.view(1), false);
      const at::Tensor want = run_chunk_one(*model->transformer, hidden, nullptr, keys_only);
      const at::Tensor got = run_chunk_one(*model->transformer, shown, nullptr, keys_only);
      EXPECT_EQ(hidden.in_place, 0);
      EXPECT_EQ(shown.in_place, slot_layers);
      EXPECT_TRUE(at::equal(got, want)) << threads << " threads";
      EXPECT_TRUE(at::equal(direct.all(), copied.all())) << threads << " threads";
    }
  at::set_num_threads(before);
}

// A block that recalls its attention makes no keys, so the slots keep those of the last computed step.
TEST(KvSlots, StayAsTheyAreWhereAttentionIsRecalled) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  SlotCache cache;
  WatchedSlots kv(cache.view(1), false);
  test::Notes notes;
  run_chunk_one(*model->transformer, kv, &notes);
  for (int layer = 0; layer < slot_layers; ++layer) {
    const KeyValue slots = cache.view(1).slots(layer);
    slots.k.fill_(layer + 1);
    slots.v.fill_(layer + 11);
  }
  const at::Tensor marked = cache.all().clone();
  notes.hands_back = true;
  run_chunk_one(*model->transformer, kv, &notes);
  EXPECT_TRUE(at::equal(cache.all(), marked));
}

}  // namespace
}  // namespace flowcache
