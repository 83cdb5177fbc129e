// SPDX-License-Identifier: LGPL-2.1-or-later
// Keys of history at time positions without gaps: when frames between an anchor and the window are dropped,
// the older keys move up behind the newer ones, so that no distance ever exceeds what the model was trained
// on (PackCache's spatially preserving positions, arXiv 2601.04359; the re-aligned sinks of arXiv
// 2512.05081). Rows and columns stay.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

struct KvGeometry;

// The time position of each slot when the last one stays where it is, equal frames share a position, and
// different ones follow each other without a gap. frames: each slot's absolute latent frame, ascending.
std::vector<int64_t> positions_without_gaps(const std::vector<int64_t>& frames);

// keys [..., head_dim] rotated by `frames` latent frames in time: pair i of the leading ones by frames *
// frequencies[i] radians. fp32 arithmetic; the result has the keys' type.
at::Tensor rotate_in_time(const at::Tensor& keys, int64_t frames, const std::vector<double>& frequencies);

// Holds every history key as the network wrote it, beside the buffer that it moves them in, so that moving
// them a thousand times costs no precision. Not thread-safe.
class RebasedKeys {
 public:
  // capacity: most history slots at any time, one chunk above the budget.
  RebasedKeys(const KvGeometry& geometry, int64_t capacity);

  // keys [layers, kv_heads, n, head_dim] of a finished chunk become the newest history.
  void append(const at::Tensor& keys, int64_t first_frame);
  // After a shrinking: slot i holds what slot slots[i] held. slots: int64 [kept], ascending, on the CPU.
  void keep(const at::Tensor& slots);
  // Rewrites those of history's keys [layers, kv_heads, slots, head_dim] whose position has changed.
  void close_gaps(at::Tensor keys);
  void reset();
  uint64_t bytes() const { return written_.nbytes(); }

 private:
  std::vector<double> frequencies_;
  int64_t tokens_per_frame_;
  at::Tensor written_, scratch_;  // [layers, 1, kv_heads, capacity, head_dim]
  std::vector<int64_t> frames_;   // of each slot
  std::vector<int64_t> shown_;    // the position that the buffer's key of each slot has now
};

}  // namespace flowcache
