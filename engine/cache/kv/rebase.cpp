// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/rebase.h"

#include "cache/kv/compact.h"
#include "cache/kv/kv_store.h"

namespace flowcache {

std::vector<int64_t> positions_without_gaps(const std::vector<int64_t>& frames) {
  std::vector<int64_t> positions(frames);
  for (size_t i = frames.size(); i-- > 1;)
    positions[i - 1] = positions[i] - (frames[i - 1] == frames[i] ? 0 : 1);
  return positions;
}

at::Tensor rotate_in_time(const at::Tensor& keys, int64_t frames, const std::vector<double>& frequencies) {
  const auto pairs = static_cast<int64_t>(frequencies.size());
  const at::Tensor angle = at::tensor(frequencies, at::kDouble) * static_cast<double>(frames);
  const at::Tensor cos = at::cos(angle).to(keys.device(), at::kFloat),
                   sin = at::sin(angle).to(keys.device(), at::kFloat);
  const at::Tensor both = keys.narrow(-1, 0, 2 * pairs).to(at::kFloat).unflatten(-1, {pairs, 2});
  const at::Tensor a = both.select(-1, 0), b = both.select(-1, 1);
  const at::Tensor turned = at::stack({a * cos - b * sin, a * sin + b * cos}, -1).flatten(-2);
  return at::cat({turned.to(keys.scalar_type()), keys.narrow(-1, 2 * pairs, keys.size(-1) - 2 * pairs)}, -1);
}

RebasedKeys::RebasedKeys(const KvGeometry& geometry, int64_t capacity)
    : frequencies_(geometry.time_frequencies), tokens_per_frame_(geometry.tokens_per_frame) {
  written_ = at::zeros({geometry.layers, 1, geometry.kv_heads, capacity, geometry.head_dim},
                       at::TensorOptions(geometry.device).dtype(geometry.dtype));
}

void RebasedKeys::append(const at::Tensor& keys, int64_t first_frame) {
  const auto used = static_cast<int64_t>(frames_.size()), count = keys.size(2);
  written_.select(1, 0).narrow(2, used, count).copy_(keys);
  for (int64_t i = 0; i < count; ++i) frames_.push_back(first_frame + i / tokens_per_frame_);
  shown_.insert(shown_.end(), frames_.begin() + used, frames_.end());
}

void RebasedKeys::keep(const at::Tensor& slots) {
  const auto used = static_cast<int64_t>(frames_.size());
  const std::vector<at::Tensor> of_layers(static_cast<size_t>(written_.size(0)), slots);
  compact_layers(written_, of_layers, used, 0, scratch_);
  const int64_t* slot = slots.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < slots.numel(); ++i) {
    frames_[i] = frames_[slot[i]];
    shown_[i] = shown_[slot[i]];
  }
  frames_.resize(slots.numel());
  shown_.resize(slots.numel());
}

void RebasedKeys::close_gaps(at::Tensor keys) {
  const std::vector<int64_t> wanted = positions_without_gaps(frames_);
  for (size_t begin = 0, end = 0; begin < wanted.size(); begin = end) {
    const int64_t moved = wanted[begin] - frames_[begin];
    bool same = true;
    for (end = begin; end < wanted.size() && wanted[end] - frames_[end] == moved; ++end)
      same &= shown_[end] == wanted[end];
    if (same) continue;
    const auto first = static_cast<int64_t>(begin), count = static_cast<int64_t>(end - begin);
    keys.narrow(2, first, count)
        .copy_(rotate_in_time(written_.select(1, 0).narrow(2, first, count), moved, frequencies_));
  }
  shown_ = wanted;
}

void RebasedKeys::reset() {
  frames_.clear();
  shown_.clear();
}

}  // namespace flowcache
