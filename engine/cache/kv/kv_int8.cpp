// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/kv_int8.h"

#include "cache/kv/compact.h"
#include "cache/kv/kv_store.h"

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

Int8History::Int8History(const KvGeometry& geometry, int64_t capacity, bool closes_gaps)
    : frequencies_(geometry.time_frequencies) {
  const auto options = at::TensorOptions(geometry.device);
  const int64_t layers = geometry.layers;
  codes_ = at::zeros({layers, 2, geometry.kv_heads, capacity, geometry.head_dim}, options.dtype(at::kChar));
  scales_ = at::zeros({layers, 2, geometry.kv_heads, capacity, 1}, options.dtype(at::kFloat));
  if (closes_gaps) frames_.emplace(geometry.tokens_per_frame);
}

void Int8History::append(const at::Tensor& chunk, int64_t first_frame) {
  const int64_t count = chunk.size(3);
  for (int64_t layer = 0; layer < chunk.size(0);
       ++layer) {  // one at a time, as it takes a chunk's layer in fp32
    const Int8Rows rows = to_int8(chunk[layer]);
    codes_[layer].narrow(2, tokens_, count).copy_(rows.codes);
    scales_[layer].narrow(2, tokens_, count).copy_(rows.scales);
  }
  if (frames_) frames_->append(count, first_frame);
  tokens_ += count;
}

void Int8History::read(int layer, at::Tensor out) const {
  if (tokens_ == 0) return;
  from_int8({codes_[layer].narrow(2, 0, tokens_), scales_[layer].narrow(2, 0, tokens_)}, out);
  for (const Turned& run : turned_) {
    at::Tensor keys = out[0].narrow(1, run.first, run.count);
    keys.copy_(run.rotation.turned(keys));
  }
}

void Int8History::keep(const at::Tensor& slots) {
  for (int64_t layer = 0; layer < codes_.size(0); ++layer) {
    compact_rows(codes_[layer], slots[layer], tokens_, 0, codes_scratch_);
    compact_rows(scales_[layer], slots[layer], tokens_, 0, scales_scratch_);
  }
  tokens_ = slots.size(-1);
  if (!frames_) return;
  frames_->keep(slots[0]);
  turned_.clear();
  for (const SlotFrames::Run& run : frames_->runs())
    if (run.moved != 0)
      turned_.push_back({run.first, run.count, TimeRotation(run.moved, frequencies_, codes_.device())});
}

void Int8History::reset() {
  tokens_ = 0;
  turned_.clear();
  if (frames_) frames_->reset();
}

uint64_t Int8History::allocated_bytes() const {
  uint64_t sum = 0;
  for (const at::Tensor& one : {codes_, scales_, codes_scratch_, scales_scratch_})
    if (one.defined()) sum += one.nbytes();
  return sum;
}

}  // namespace flowcache
