// SPDX-License-Identifier: LGPL-2.1-or-later
// Work on the rows of a tensor in parts: split over the cores, or in slices to save memory.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace flowcache {

// Fewest and most rows of a range. A matrix product wants some dozens for full speed.
struct RangeSize {
  int64_t least = 32, most = 64;
};

// Calls work(first, count) for slices that cover [0, rows) once, one after the other, as even as can be, of
// at most `slice` rows; 0: in one call.
template <typename Work>
void for_slices(int64_t rows, int64_t slice, const Work& work) {
  const int64_t slices = slice > 0 ? std::max<int64_t>(1, (rows + slice - 1) / slice) : 1;
  for (int64_t i = 0; i < slices; ++i) work(rows * i / slices, rows * (i + 1) / slices - rows * i / slices);
}

// The same, where `work` gives a tensor of its rows, which are joined along `dim`: one slice's own, or a
// copy.
template <typename Work>
at::Tensor joined_slices(int64_t rows, int64_t slice, int64_t dim, const Work& work) {
  at::Tensor all;
  for_slices(rows, slice, [&](int64_t first, int64_t count) {
    const at::Tensor part = work(first, count);
    if (count == rows) {
      all = part;
      return;
    }
    if (!all.defined()) {
      std::vector<int64_t> sizes = part.sizes().vec();
      sizes[static_cast<size_t>(dim)] = rows;
      all = at::empty(sizes, part.options());
    }
    all.narrow(dim, first, count).copy_(part);
  });
  return all;
}

// Calls work(first, count) for ranges that cover [0, rows) once, each on one thread, several at a time on a
// CPU; in for_slices(rows, slice) elsewhere. The ranges depend on `rows`, `slice` and the number of threads
// only; on a CPU they are small anyhow, and `slice` only counts where it is smaller. There are more ranges
// than threads where rows allow, so that a core that other programs keep busy holds up the others less.
// Rethrows what `work` throws.
template <typename Work>
void for_row_ranges(at::Device device, int64_t rows, int64_t slice, const Work& work, RangeSize size = {}) {
  if (!device.is_cpu()) return for_slices(rows, slice, work);
  if (slice > 0) size = {std::min(size.least, slice), std::min(size.most, slice)};
  const int64_t threads = at::get_num_threads();
  const int64_t wanted = threads * ((rows + threads * size.most - 1) / (threads * size.most));
  const int64_t ranges = std::max<int64_t>(1, std::min(wanted, rows / size.least));
  const auto range = [&](int64_t i) { work(rows * i / ranges, rows * (i + 1) / ranges - rows * i / ranges); };
  if (threads == 1 || ranges == 1 || at::in_parallel_region()) {
    for (int64_t i = 0; i < ranges; ++i) range(i);
    return;
  }
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min(threads, ranges), 1, [&](int64_t, int64_t) {
    const c10::InferenceMode inference;  // a setting of each thread
    for (int64_t i = next++; i < ranges; i = next++) range(i);
  });
}

}  // namespace flowcache
