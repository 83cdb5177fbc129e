// SPDX-License-Identifier: LGPL-2.1-or-later
// What a network sees of the KV cache: it hands over a layer's keys and values and is told what to attend.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Keys and values of one layer, each [kv_heads, tokens, head_dim]; the last dimension is contiguous.
struct KeyValue {
  at::Tensor k, v;
};

class KvView {
 public:
  virtual ~KvView() = default;

  // Called once per layer in a forward pass. `q` [heads, tokens, head_dim] and `own` (both after norm and RoPE) belong
  // to the chunk being computed. Stores `own` in the chunk's slots and returns everything the chunk may attend, its
  // own keys last. The result is a view into the cache: valid until the next append() of the same layer.
  virtual KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) = 0;
};

// No cache: a chunk attends itself only (bidirectional models, unconditional branches without history).
class OwnKeys final : public KvView {
 public:
  KeyValue append(int, const at::Tensor&, const KeyValue& own) override { return own; }
};

// The last of them, as many as there are up to `tokens`.
inline KeyValue newest(const KeyValue& all, int64_t tokens) {
  const int64_t have = all.k.size(1), count = have < tokens ? have : tokens;
  return {all.k.narrow(1, have - count, count), all.v.narrow(1, have - count, count)};
}

// The newest keys only, the chunk's own among them.
class NewestKeys final : public KvView {
 public:
  NewestKeys(KvView& all, int64_t tokens) : all_(all), tokens_(tokens) {}
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    return newest(all_.append(layer, q, own), tokens_);
  }

 private:
  KvView& all_;
  int64_t tokens_;
};

}  // namespace flowcache
