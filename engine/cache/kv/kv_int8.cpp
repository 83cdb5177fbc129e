// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/kv_int8.h"

#include <algorithm>

#include "cache/kv/kv_store.h"
#include "networks/upload.h"

namespace flowcache {

Int8Rows to_int8(const at::Tensor& rows) {
  constexpr double largest = 127;
  // A row of zeros has a scale, too, so that nothing is divided by zero.
  at::Tensor scales = at::amax(rows.abs(), -1, true).to(at::kFloat).div_(largest).clamp_min_(1e-30);
  const at::Tensor codes =
      at::div(rows.to(at::kFloat), scales).round_().clamp_(-largest, largest).to(at::kChar);
  return {codes, scales};
}

void from_int8(const Int8Rows& quantised, at::Tensor rows) {
  at::mul_out(rows, quantised.codes, quantised.scales);
}

Int8History::Int8History(const KvGeometry& geometry, int64_t capacity, std::optional<int64_t> reach)
    : reach_(reach), frequencies_(geometry.time_frequencies) {
  const auto options = at::TensorOptions(geometry.device);
  const int64_t layers = geometry.layers;
  codes_ = at::zeros({layers, 2, geometry.kv_heads, capacity, geometry.head_dim}, options.dtype(at::kChar));
  scales_ = at::zeros({layers, 2, geometry.kv_heads, capacity, 1}, options.dtype(at::kFloat));
  if (reach_) frames_.emplace(geometry.tokens_per_frame);
}

// Slots [0, count) of a layer.
Int8Rows Int8History::first(int64_t layer, int64_t count) const {
  return {codes_[layer].narrow(2, 0, count), scales_[layer].narrow(2, 0, count)};
}

bool Int8History::append(const at::Tensor& chunk, int64_t first_frame, const at::Tensor& slots) {
  const int64_t count = chunk.size(3), kept = slots.defined() ? slots.size(-1) : tokens_ + count;
  const at::Tensor index = slots.defined() ? upload(slots, codes_.device()) : slots;
  for (int64_t layer = 0; layer < chunk.size(0); ++layer) {  // what is made for a moment is of one layer
    const Int8Rows rows = to_int8(chunk[layer]), before = first(layer, tokens_), after = first(layer, kept);
    if (!slots.defined()) {
      after.codes.narrow(2, tokens_, count).copy_(rows.codes);
      after.scales.narrow(2, tokens_, count).copy_(rows.scales);
      continue;
    }
    const at::Tensor row =
        index.dim() == 2 ? index[layer].view({1, 1, kept, 1}) : index[layer].view({1, -1, kept, 1});
    const auto keep = [&](const at::Tensor& old, const at::Tensor& added, at::Tensor to) {
      to.copy_(at::cat({old, added}, 2).gather(2, row.expand(to.sizes())));
    };
    keep(before.codes, rows.codes, after.codes);
    keep(before.scales, rows.scales, after.scales);
  }
  tokens_ = kept;
  if (!frames_) return false;
  frames_->append(count, first_frame);
  if (slots.defined()) frames_->keep(slots[0]);
  return turn_keys();
}

bool Int8History::turn_keys() {
  std::vector<SlotFrames::Run> runs = frames_->runs(*reach_);
  std::erase_if(runs, [](const SlotFrames::Run& run) { return run.moved == 0; });
  const auto same = [](const Turned& one, const SlotFrames::Run& run) { return one.run == run; };
  if (std::equal(turned_.begin(), turned_.end(), runs.begin(), runs.end(), same)) return false;
  turned_.clear();
  for (const SlotFrames::Run& run : runs)
    turned_.push_back({run, TimeRotation(run.moved, frequencies_, codes_.device())});
  return true;
}

void Int8History::read(int layer, at::Tensor out) const {
  if (tokens_ == 0) return;
  from_int8(first(layer, tokens_), out);
  for (const Turned& one : turned_) {
    at::Tensor keys = out[0].narrow(1, one.run.first, one.run.count);
    keys.copy_(one.rotation.turned(keys));
  }
}

void Int8History::clear() {
  tokens_ = 0;
  turned_.clear();
  if (frames_) frames_->reset();
}

}  // namespace flowcache
