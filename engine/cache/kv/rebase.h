// SPDX-License-Identifier: LGPL-2.1-or-later
// Moves the keys of the history in time. When frames between the sink and the newer frames are dropped, the older keys
// move up, so that no distance in time exceeds what the model was trained on: without gaps (the spatially preserving
// positions of PackCache, arXiv 2601.04359; the re-aligned sinks of arXiv 2512.05081; LongLive's endless mode), or only
// as far as the trained length demands (the moving frame of reference of Infinity-RoPE, arXiv 2511.20649, which is absolute within that
// length, too). Positions in rows and columns do not change.
//
// Nothing else limits a stream's length: attention sees differences of positions only, and the angles of a position are computed
// in double, where those of 10^9 frames (eight years of Wan) are exact to 1e-7.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

struct KvGeometry;

// The new time position of each slot. frames: the latent frame of each slot, counted from the start of the
// video, ascending. reach: the frames that the history may span. The last slot keeps its position and slots of the same
// frame share one. A frame that is too old moves up to the oldest position that is allowed and free, in the order of
// the frames; all others stay. More frames than `reach`, and with 0 any frames, follow each other without a gap.
std::vector<int64_t> positions_within(const std::vector<int64_t>& frames, int64_t reach);

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

  // Neighbouring slots that positions_within() moves by as many frames.
  struct Run {
    int64_t first, count, moved;
    bool operator==(const Run&) const = default;
  };
  std::vector<Run> runs(int64_t reach) const;

 private:
  int64_t tokens_per_frame_;
  std::vector<int64_t> frames_;
};

// Keeps a copy of the numbers that turn with time, of every key that may be moved, as the network wrote it. The keys in the
// buffer are computed from these copies, so precision is not lost however often they are moved. Not thread-safe.
class RebasedKeys {
 public:
  // movable: slots from this one on are never moved (KvPolicy::movable()). reach: see positions_within().
  RebasedKeys(const KvGeometry& geometry, int64_t movable, int64_t reach);

  // Appends the keys [layers, kv_heads, n, head_dim] of a finished chunk. They become the newest history.
  void append(const at::Tensor& keys, int64_t first_frame);
  // Tokens were dropped: slot i now holds the token of slot slots[i]. slots: int64 [kept], ascending, on the
  // CPU. keys: those of the history in the buffer, [layers, kv_heads, kept, head_dim], which has been closed up.
  void keep(const at::Tensor& slots, const at::Tensor& keys);
  // keys: as above. Rewrites those whose position has changed, and returns whether any has.
  bool move_up(const at::Tensor& keys);
  void reset();
  // The numbers of a key that are kept.
  static int64_t width(const KvGeometry& geometry);
  uint64_t bytes() const { return written_.nbytes() + (scratch_.defined() ? scratch_.nbytes() : 0); }

 private:
  int64_t layers_at_once(int64_t tokens) const;

  std::vector<double> frequencies_;
  uint64_t scratch_bytes_;
  int64_t reach_;
  at::Tensor written_;          // [layers, 1, kv_heads, movable, two for each frequency]
  at::Tensor scratch_;          // of compact_rows()
  SlotFrames frames_;           // of the keys as they were written
  std::vector<int64_t> shown_;  // the time position of each slot's key in the buffer
};

}  // namespace flowcache
