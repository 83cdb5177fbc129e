// SPDX-License-Identifier: LGPL-2.1-or-later
// What a network sees of the KV cache: it hands over a layer's keys and values, and gets those to attend.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <compare>
#include <cstdint>

namespace flowcache {

// Keys and values of one layer, each [kv_heads, tokens, head_dim]; the last dimension is contiguous.
struct KeyValue {
  at::Tensor k, v;
};

// Where a chunk's keys and values go, and what it may attend: all that is the same as long as these are.
struct KvPlace {
  const void* buffer = nullptr;  // null: not known
  int64_t begin = 0, end = 0;    // the chunk's slots in it; it attends those before its end
  auto operator<=>(const KvPlace&) const = default;
};

// Which view it is, for other processes that have the same.
struct KvName {
  int store = -1;              // KvFollower::store(); negative: none follows
  int64_t chunk = 0;           // the chunk that is computed
  int64_t newest = INT64_MAX;  // only so many keys are shown, the newest
};

class KvView {
 public:
  virtual ~KvView() = default;
  virtual KvName name() const { return {}; }
  // False: append() does not look at its q.
  virtual bool looks_at_queries() const { return true; }
  // The place of the chunk that is computed. Known only if append() does nothing on the host that later calls see.
  virtual KvPlace place() const { return {}; }

  // Where keys and values of the chunk belong in this layer: [kv_heads, tokens, head_dim], views of the cache. A
  // network that writes them there and hands these tensors to append() saves the copy. Until then nobody may read
  // the chunk's keys of this layer, so only a pass that is sure to reach append() may write. They keep what append()
  // stored. Undefined: there is no cache, and the network makes its own.
  virtual KeyValue slots(int /*layer*/) { return {}; }
  // Called once for each layer of a forward pass. q [heads, tokens, head_dim] and `own` are of the chunk
  // that is computed, after norm and RoPE. Stores `own` in the chunk's slots, unless it is slots(layer), and
  // returns all that the chunk may attend, its own keys last. The result is a view of the cache, valid until the next
  // append().
  virtual KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) = 0;
};

// No cache: a chunk attends only itself. For bidirectional models, and for branches without history.
class OwnKeys final : public KvView {
 public:
  bool looks_at_queries() const override { return false; }
  KeyValue append(int, const at::Tensor&, const KeyValue& own) override { return own; }
};

// The last of them, as many as there are up to `tokens`.
inline KeyValue newest(const KeyValue& all, int64_t tokens) {
  const int64_t have = all.k.size(1), count = have < tokens ? have : tokens;
  return {all.k.narrow(1, have - count, count), all.v.narrow(1, have - count, count)};
}

// A view that shows only the newest `tokens` keys of another, the chunk's own among them. `all` outlives it.
class NewestKeys final : public KvView {
 public:
  NewestKeys(KvView& all, int64_t tokens) : all_(all), tokens_(tokens) {}
  KvName name() const override {
    KvName name = all_.name();
    name.newest = std::min(name.newest, tokens_);
    return name;
  }
  bool looks_at_queries() const override { return all_.looks_at_queries(); }
  KeyValue slots(int layer) override { return all_.slots(layer); }
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    return newest(all_.append(layer, q, own), tokens_);
  }

 private:
  KvView& all_;
  int64_t tokens_;
};

}  // namespace flowcache
