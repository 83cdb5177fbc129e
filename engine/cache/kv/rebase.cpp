// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/rebase.h"

#include "cache/kv/compact.h"
#include "cache/kv/kv_store.h"
#include "networks/upload.h"

namespace flowcache {

std::vector<int64_t> positions_without_gaps(const std::vector<int64_t>& frames) {
  std::vector<int64_t> positions(frames);
  for (size_t i = frames.size(); i-- > 1;)
    positions[i - 1] = positions[i] - (frames[i - 1] == frames[i] ? 0 : 1);
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
  const at::Tensor turned = at::stack({a * cos_ - b * sin_, a * sin_ + b * cos_}, -1).flatten(-2);
  return at::cat({turned.to(keys.scalar_type()), keys.narrow(-1, 2 * pairs, keys.size(-1) - 2 * pairs)}, -1);
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

std::vector<SlotFrames::Run> SlotFrames::runs() const {
  const std::vector<int64_t> wanted = positions_without_gaps(frames_);
  std::vector<Run> runs;
  for (size_t slot = 0; slot < frames_.size(); ++slot) {
    const int64_t moved = wanted[slot] - frames_[slot];
    if (runs.empty() || runs.back().moved != moved) runs.push_back({static_cast<int64_t>(slot), 0, moved});
    ++runs.back().count;
  }
  return runs;
}

RebasedKeys::RebasedKeys(const KvGeometry& geometry, int64_t capacity)
    : frequencies_(geometry.time_frequencies), frames_(geometry.tokens_per_frame) {
  written_ = at::zeros({geometry.layers, 1, geometry.kv_heads, capacity, geometry.head_dim},
                       at::TensorOptions(geometry.device).dtype(geometry.dtype));
}

void RebasedKeys::append(const at::Tensor& keys, int64_t first_frame) {
  const auto used = static_cast<int64_t>(shown_.size()), count = keys.size(2);
  written_.select(1, 0).narrow(2, used, count).copy_(keys);
  frames_.append(count, first_frame);
  shown_.insert(shown_.end(), frames_.frames().begin() + used, frames_.frames().end());
}

void RebasedKeys::keep(const at::Tensor& slots) {
  const auto used = static_cast<int64_t>(shown_.size());
  const std::vector<at::Tensor> of_layers(static_cast<size_t>(written_.size(0)), slots);
  compact_layers(written_, of_layers, used, 0, scratch_);
  frames_.keep(slots);
  const int64_t* slot = slots.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < slots.numel(); ++i) shown_[i] = shown_[slot[i]];
  shown_.resize(slots.numel());
}

void RebasedKeys::close_gaps(at::Tensor keys) {
  for (const SlotFrames::Run& run : frames_.runs()) {
    bool same = true;
    for (int64_t slot = run.first; slot < run.first + run.count; ++slot)
      same &= shown_[slot] == frames_.frames()[slot] + run.moved;
    if (same) continue;
    // A layer at a time: what it takes beside the buffer is small.
    const TimeRotation rotation(run.moved, frequencies_, keys.device());
    for (int64_t layer = 0; layer < keys.size(0); ++layer)
      keys[layer]
          .narrow(1, run.first, run.count)
          .copy_(rotation.turned(written_[layer][0].narrow(1, run.first, run.count)));
  }
  shown_ = positions_without_gaps(frames_.frames());
}

void RebasedKeys::reset() {
  frames_.reset();
  shown_.clear();
}

}  // namespace flowcache
