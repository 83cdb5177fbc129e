// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/rebase.h"

#include <algorithm>

#include "base/error.h"
#include "cache/kv/compact.h"
#include "cache/kv/kv_store.h"
#include "networks/upload.h"

namespace flowcache {

std::vector<int64_t> positions_within(const std::vector<int64_t>& frames, int64_t reach) {
  if (frames.empty()) return {};
  std::vector<int64_t> ranks = {0};
  for (size_t i = 1; i < frames.size(); ++i)
    ranks.push_back(ranks.back() + (frames[i] == frames[i - 1] ? 0 : 1));
  const int64_t oldest = frames.back() - std::max(reach, ranks.back() + 1) + 1;
  std::vector<int64_t> positions;
  for (size_t i = 0; i < frames.size(); ++i) positions.push_back(std::max(frames[i], oldest + ranks[i]));
  return positions;
}

TimeRotation::TimeRotation(int64_t frames, const std::vector<double>& frequencies, at::Device device) {
  const at::Tensor angle = at::tensor(frequencies, at::kDouble) * static_cast<double>(frames);
  cos_ = upload(at::cos(angle).to(at::kFloat), device);
  sin_ = upload(at::sin(angle).to(at::kFloat), device);
}

at::Tensor TimeRotation::turned(const at::Tensor& keys) const {
  const int64_t pairs = cos_.size(0);
  const at::Tensor both = keys.narrow(-1, 0, 2 * pairs).to(at::kFloat).unflatten(-1, {pairs, 2});
  const at::Tensor a = both.select(-1, 0), b = both.select(-1, 1);
  const at::Tensor turned =
      at::stack({a * cos_ - b * sin_, a * sin_ + b * cos_}, -1).flatten(-2).to(keys.scalar_type());
  if (keys.size(-1) == 2 * pairs) return turned;
  return at::cat({turned, keys.narrow(-1, 2 * pairs, keys.size(-1) - 2 * pairs)}, -1);
}

at::Tensor rotate_in_time(const at::Tensor& keys, int64_t frames, const std::vector<double>& frequencies) {
  return TimeRotation(frames, frequencies, keys.device()).turned(keys);
}

void SlotFrames::append(int64_t tokens, int64_t first_frame) {
  for (int64_t i = 0; i < tokens; ++i) frames_.push_back(first_frame + i / tokens_per_frame_);
}

void SlotFrames::keep(const at::Tensor& slots) {
  const int64_t* slot = slots.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < slots.numel(); ++i) frames_[i] = frames_[slot[i]];
  frames_.resize(slots.numel());
}

std::vector<SlotFrames::Run> SlotFrames::runs(int64_t reach) const {
  const std::vector<int64_t> wanted = positions_within(frames_, reach);
  std::vector<Run> runs;
  for (size_t slot = 0; slot < frames_.size(); ++slot) {
    const int64_t moved = wanted[slot] - frames_[slot];
    if (runs.empty() || runs.back().moved != moved) runs.push_back({static_cast<int64_t>(slot), 0, moved});
    ++runs.back().count;
  }
  return runs;
}

RebasedKeys::RebasedKeys(const KvGeometry& geometry, int64_t movable, int64_t reach)
    : frequencies_(geometry.time_frequencies),
      scratch_bytes_(geometry.scratch_bytes),
      reach_(reach),
      frames_(geometry.tokens_per_frame) {
  written_ = at::zeros({geometry.layers, 1, geometry.kv_heads, movable, width(geometry)},
                       at::TensorOptions(geometry.device).dtype(geometry.dtype));
}

int64_t RebasedKeys::width(const KvGeometry& geometry) {
  return std::min(geometry.head_dim, 2 * static_cast<int64_t>(geometry.time_frequencies.size()));
}

void RebasedKeys::append(const at::Tensor& keys, int64_t first_frame) {
  const auto used = static_cast<int64_t>(shown_.size()), count = keys.size(2);
  const int64_t copied = std::min(count, written_.size(3) - used);
  if (copied > 0)
    written_.select(1, 0)
        .narrow(2, used, copied)
        .copy_(keys.narrow(2, 0, copied).narrow(3, 0, written_.size(4)));
  frames_.append(count, first_frame);
  shown_.insert(shown_.end(), frames_.frames().begin() + used, frames_.frames().end());
}

void RebasedKeys::keep(const at::Tensor& slots, const at::Tensor& keys) {
  const int64_t* slot = slots.const_data_ptr<int64_t>();
  const int64_t copies = std::min(static_cast<int64_t>(shown_.size()), written_.size(3));
  // Slots ascend, so those that have a copy come first. The others were never moved: the buffer has them as they were written.
  const auto copied = std::lower_bound(slot, slot + slots.numel(), copies) - slot;
  const int64_t wanted = std::min(slots.numel(), written_.size(3));
  const std::vector<at::Tensor> of_layers(static_cast<size_t>(written_.size(0)), slots.narrow(0, 0, copied));
  if (copied > 0 && slot[copied - 1] != copied - 1) compact_layers(written_, of_layers, copies, 0, scratch_);
  if (wanted > copied)
    written_.select(1, 0)
        .narrow(2, copied, wanted - copied)
        .copy_(keys.narrow(2, copied, wanted - copied).narrow(3, 0, written_.size(4)));
  frames_.keep(slots);
  for (int64_t i = 0; i < slots.numel(); ++i) shown_[i] = shown_[slot[i]];
  shown_.resize(slots.numel());
}

// On a GPU as many as may be turned in the memory that is planned, as each group takes eleven launches. On a CPU one, which
// keeps what it takes small.
int64_t RebasedKeys::layers_at_once(int64_t tokens) const {
  if (written_.is_cpu()) return 1;
  constexpr uint64_t copies = 5;  // in fp32, of the numbers that turn
  const auto numbers = static_cast<uint64_t>(written_.size(2) * tokens * written_.size(4));
  return static_cast<int64_t>(std::max<uint64_t>(1, scratch_bytes_ / (copies * sizeof(float) * numbers)));
}

bool RebasedKeys::move_up(const at::Tensor& keys) {
  bool moved = false;
  for (const SlotFrames::Run& run : frames_.runs(reach_)) {
    bool same = true;
    for (int64_t slot = run.first; slot < run.first + run.count; ++slot)
      same &= shown_[slot] == frames_.frames()[slot] + run.moved;
    if (same) continue;
    if (run.first + run.count > written_.size(3))
      throw Error(FC_ERROR_INTERNAL, "KV store: slot " + std::to_string(run.first + run.count - 1) +
                                         " moves in time, and the policy has said that only the first " +
                                         std::to_string(written_.size(3)) + " can");
    moved = true;
    const TimeRotation rotation(run.moved, frequencies_, keys.device());
    const int64_t some = layers_at_once(run.count);
    for (int64_t layer = 0; layer < keys.size(0); layer += some) {
      const int64_t count = std::min(some, keys.size(0) - layer);
      const at::Tensor written =
          written_.narrow(0, layer, count).select(1, 0).narrow(2, run.first, run.count);
      keys.narrow(0, layer, count)
          .narrow(2, run.first, run.count)
          .narrow(3, 0, written_.size(4))
          .copy_(rotation.turned(written));
    }
  }
  shown_ = positions_within(frames_.frames(), reach_);
  return moved;
}

void RebasedKeys::reset() {
  frames_.reset();
  shown_.clear();
}

}  // namespace flowcache
