// SPDX-License-Identifier: LGPL-2.1-or-later
// Moves the keys of the history in time, so that their positions have no gaps. When frames between the sink
// and the newer frames are dropped, the older keys get the positions just before the newer ones. So no
// distance in time exceeds what the model was trained on (the spatially preserving positions of PackCache,
// arXiv 2601.04359; the re-aligned sinks of arXiv 2512.05081). Positions in rows and columns do not change.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

struct KvGeometry;

// The new time position of each slot. frames: the latent frame of each slot, counted from the start of the
// video, ascending. The last slot keeps its position, slots of the same frame share a position, and different
// frames follow each other without a gap.
std::vector<int64_t> positions_without_gaps(const std::vector<int64_t>& frames);

// A move of keys by `frames` latent frames in time.
class TimeRotation {
 public:
  TimeRotation(int64_t frames, const std::vector<double>& frequencies, at::Device device);
  // Keys [..., head_dim], moved: pair i of the leading numbers turns by frames * frequencies[i] radians. The
  // arithmetic is fp32; the result has the type of `keys`.
  at::Tensor turned(const at::Tensor& keys) const;

 private:
  at::Tensor cos_, sin_;  // [pairs]
};
at::Tensor rotate_in_time(const at::Tensor& keys, int64_t frames, const std::vector<double>& frequencies);

// The latent frame of each slot of the history, counted from the start of the video. Not thread-safe.
class SlotFrames {
 public:
  explicit SlotFrames(int64_t tokens_per_frame) : tokens_per_frame_(tokens_per_frame) {}
  void append(int64_t tokens, int64_t first_frame);
  // Slot i now holds the token of slot slots[i]; ascending, on the CPU.
  void keep(const at::Tensor& slots);
  void reset() { frames_.clear(); }
  const std::vector<int64_t>& frames() const { return frames_; }

  // Neighbouring slots that closing the gaps moves by as many frames.
  struct Run {
    int64_t first, count, moved;
  };
  std::vector<Run> runs() const;

 private:
  int64_t tokens_per_frame_;
  std::vector<int64_t> frames_;
};

// Keeps a copy of every key of the history as the network wrote it. The keys in the buffer are computed from
// these copies, so precision is not lost however often they are moved. Not thread-safe.
class RebasedKeys {
 public:
  // capacity: largest number of slots in history at any time, which is the budget and one chunk.
  RebasedKeys(const KvGeometry& geometry, int64_t capacity);

  // Appends the keys [layers, kv_heads, n, head_dim] of a finished chunk. They become the newest history.
  void append(const at::Tensor& keys, int64_t first_frame);
  // Tokens were dropped: slot i now holds the token of slot slots[i]. slots: int64 [kept], ascending, on the
  // CPU.
  void keep(const at::Tensor& slots);
  // keys: those of the history in the buffer, [layers, kv_heads, slots, head_dim]. Rewrites those whose
  // position has changed.
  void close_gaps(at::Tensor keys);
  void reset();
  uint64_t bytes() const { return written_.nbytes() + (scratch_.defined() ? scratch_.nbytes() : 0); }

 private:
  std::vector<double> frequencies_;
  at::Tensor written_;          // [layers, 1, kv_heads, capacity, head_dim]
  at::Tensor scratch_;          // of compact_rows()
  SlotFrames frames_;           // of the keys as they were written
  std::vector<int64_t> shown_;  // the time position of each slot's key in the buffer
};

}  // namespace flowcache
