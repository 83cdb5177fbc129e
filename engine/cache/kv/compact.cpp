// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/compact.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "cuda_arguments.h"
#include "cuda_kernels.h"
#include "networks/upload.h"

namespace flowcache {
namespace {

std::span<const int64_t> slots_of(const at::Tensor& slots, int64_t head) {
  const int64_t kept = slots.size(-1);
  const int64_t* first = slots.const_data_ptr<int64_t>() + (slots.dim() == 2 ? head * kept : 0);
  return {first, static_cast<size_t>(kept)};
}

bool ascending(const at::Tensor& slots) {
  for (int64_t head = 0; head < (slots.dim() == 2 ? slots.size(0) : 1); ++head) {
    const auto one = slots_of(slots, head);
    for (size_t i = 1; i < one.size(); ++i)
      if (one[i] <= one[i - 1]) return false;
  }
  return true;
}

// Ascending slots never lie before their destination. So runs can be moved in place, from the first to the
// last.
void move_in_place(char* rows, std::span<const int64_t> slots, int64_t used, int64_t tail, size_t row_bytes) {
  const auto kept = static_cast<int64_t>(slots.size());
  for (int64_t to = 0; to < kept;) {
    int64_t run = 1;
    while (to + run < kept && slots[to + run] == slots[to] + run) ++run;
    if (slots[to] != to) std::memmove(rows + to * row_bytes, rows + slots[to] * row_bytes, run * row_bytes);
    to += run;
  }
  if (kept != used) std::memmove(rows + kept * row_bytes, rows + used * row_bytes, tail * row_bytes);
}

void gather(at::Tensor buffer, const at::Tensor& slots, int64_t used, int64_t tail, at::Tensor& scratch) {
  const int64_t heads = buffer.size(1), count = slots.size(-1) + tail;
  const at::Tensor end = at::arange(used, used + tail, slots.options());
  const at::Tensor kept = slots.dim() == 2 ? slots : slots.unsqueeze(0).expand({heads, slots.size(0)});
  // One index for all heads, uploaded once.
  const at::Tensor index = upload(at::cat({kept, end.unsqueeze(0).expand({heads, tail})}, 1), buffer.device())
                               .unsqueeze(-1)
                               .expand({heads, count, buffer.size(3)});
  if (!scratch.defined()) scratch = at::empty({heads, buffer.size(2), buffer.size(3)}, buffer.options());
  at::Tensor moved = scratch.narrow(1, 0, count);
  for (int64_t plane = 0; plane < buffer.size(0); ++plane) {
    at::Tensor rows = buffer[plane];
    at::gather_out(moved, rows, 1, index);
    rows.narrow(1, 0, count).copy_(moved);
  }
}

// Returns false if there is no GPU with kernels.
bool move_on_gpu(const at::Tensor& buffer, const std::vector<at::Tensor>& slots, int64_t used, int64_t tail) {
  const CudaCall cuda(buffer);
  if (!cuda || !buffer[0][0][0].is_contiguous() || !std::all_of(slots.begin(), slots.end(), ascending))
    return false;
  // One copy for all layers, through pinned memory, that nobody waits for.
  const at::Tensor places =
      cuda_arguments::joined_slots(slots, buffer.size(2), at::TensorOptions().pinned_memory(true))
          .to(buffer.device(), /*non_blocking=*/true);
  const auto args = cuda_arguments::move_rows(buffer, places, used, tail);
  return cuda.ran(cuda->move_rows(&args, cuda.stream()));
}

}  // namespace

void compact_rows(at::Tensor buffer, const at::Tensor& slots, int64_t used, int64_t tail,
                  at::Tensor& scratch) {
  if (!buffer.device().is_cpu() || !ascending(slots)) return gather(buffer, slots, used, tail, scratch);
  const size_t row_bytes = buffer.size(3) * buffer.element_size();
  const int64_t planes = buffer.size(0), heads = buffer.size(1);
  auto* base = static_cast<char*>(buffer.mutable_data_ptr());
  at::parallel_for(0, planes * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      move_in_place(base + i * buffer.size(2) * row_bytes, slots_of(slots, i % heads), used, tail, row_bytes);
  });
}

void compact_layers(at::Tensor buffer, const std::vector<at::Tensor>& slots, int64_t used, int64_t tail,
                    at::Tensor& scratch) {
  if (move_on_gpu(buffer, slots, used, tail)) return;
  for (size_t layer = 0; layer < slots.size(); ++layer)
    compact_rows(buffer[static_cast<int64_t>(layer)], slots[layer], used, tail, scratch);
}

}  // namespace flowcache
