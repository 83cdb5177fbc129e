// SPDX-License-Identifier: LGPL-2.1-or-later
// The history of a KV buffer in 8 bits: each token of each head has a scale of its own, its largest number divided by
// 127. So no number is off by more than half a scale, however different tokens and heads are; and a row can be moved
// without its neighbours.
//
// Keys are kept as the network wrote them. Where their positions are moved (rebase.h), they are turned when they are
// read, so no second copy of them is needed, and moving them again does not round them again.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "cache/kv/rebase.h"

namespace flowcache {

struct KvGeometry;

// Rows [..., width] of any floating-point type in 8 bits.
struct Int8Rows {
  at::Tensor codes;   // int8 [..., width], -127 to 127
  at::Tensor scales;  // fp32 [..., 1]
};
Int8Rows to_int8(const at::Tensor& rows);
// codes * scales, in fp32 and then in the type of `rows`, which has the shape of the codes.
void from_int8(const Int8Rows& quantised, at::Tensor rows);

// Not thread-safe.
class Int8History {
 public:
  // capacity: the budget. reach: see kv_reach().
  Int8History(const KvGeometry& geometry, int64_t capacity, std::optional<int64_t> reach);

  // A finished chunk of each layer, [layers, 2, kv_heads, n, head_dim], becomes the newest history. With `slots`, only those
  // of history and chunk stay, in this order: int64 [layers, kept] or [layers, kv_heads, kept], on the CPU.
  // Returns whether keys that were there have another position in time now.
  bool append(const at::Tensor& chunk, int64_t first_frame, const at::Tensor& slots = {});
  // Writes the whole history of a layer to `out` [2, kv_heads, tokens(), head_dim].
  void read(int layer, at::Tensor out) const;
  void clear();

  int64_t tokens() const { return tokens_; }
  uint64_t allocated_bytes() const { return codes_.nbytes() + scales_.nbytes(); }
  // Bytes of one token of one head: its key and its value.
  static uint64_t bytes_of_token(int64_t head_dim) {
    return 2 * (static_cast<uint64_t>(head_dim) + sizeof(float));
  }

 private:
  Int8Rows first(int64_t layer, int64_t count) const;
  bool turn_keys();

  struct Turned {
    SlotFrames::Run run;
    TimeRotation rotation;
  };

  at::Tensor codes_;   // int8 [layers, 2, kv_heads, capacity, head_dim]
  at::Tensor scales_;  // fp32 [layers, 2, kv_heads, capacity, 1]
  int64_t tokens_ = 0;
  std::optional<int64_t> reach_;
  std::optional<SlotFrames> frames_;  // only if keys are moved
  std::vector<double> frequencies_;
  std::vector<Turned> turned_;  // runs of slots whose keys are read at another time
};

}  // namespace flowcache
