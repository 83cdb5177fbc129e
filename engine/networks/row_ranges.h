// SPDX-License-Identifier: LGPL-2.1-or-later
// Work on the rows of a tensor in parts: in ranges for several cores, or in slices that save memory.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/interruption.h"

namespace flowcache {

// Fewest and most rows of a range. A matrix product needs some dozens of rows for its full speed.
struct RangeSize {
  int64_t least = 32, most = 64;
};

// Calls work(first, count) for one slice after the other. The slices cover rows 0..rows-1 once, are of nearly
// equal length and have at most `slice` rows; slice 0 makes it one call.
template <typename Work>
void for_slices(int64_t rows, int64_t slice, const Work& work) {
  const int64_t slices = slice > 0 ? std::max<int64_t>(1, (rows + slice - 1) / slice) : 1;
  for (int64_t i = 0; i < slices; ++i) work(rows * i / slices, rows * (i + 1) / slices - rows * i / slices);
}

// The same, where work() returns a tensor for its rows. Returns all of them joined along `dim`: the tensor
// itself if there is one slice, else a copy.
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

// Calls work(first, count) for ranges that cover rows 0..rows-1 once. On a CPU each range runs on one
// thread and several run at a time; elsewhere this is for_slices(rows, slice). The ranges depend only on
// `rows`, `slice`, `size` and the number of threads, so results are the same for the same number of
// threads. On a CPU they are small anyhow, and `slice` counts only where it is smaller. Where there are
// enough rows there are more ranges than threads: a core that other programs keep busy then holds up the
// others less. Rethrows what work() throws. Between two ranges it can be stopped (interruption.h).
template <typename Work>
void for_row_ranges(at::Device device, int64_t rows, int64_t slice, const Work& work, RangeSize size = {}) {
  if (!device.is_cpu()) return for_slices(rows, slice, work);
  if (slice > 0) size = {std::min(size.least, slice), std::min(size.most, slice)};
  const int64_t threads = at::get_num_threads();
  const int64_t wanted = threads * ((rows + threads * size.most - 1) / (threads * size.most));
  const int64_t ranges = std::max<int64_t>(1, std::min(wanted, rows / size.least));
  // Vectors and tiles of the kernels hold up to 16 rows.
  const int64_t unit = size.least % 16 == 0 && size.most % 16 == 0 ? 16 : 1;
  const int64_t units = (rows + unit - 1) / unit;
  const auto begin = [&](int64_t i) { return std::min(rows, units * i / ranges * unit); };
  const auto range = [&](int64_t i) {
    stop_if_asked();
    work(begin(i), begin(i + 1) - begin(i));
  };
  if (threads == 1 || ranges == 1 || at::in_parallel_region()) {
    for (int64_t i = 0; i < ranges; ++i) range(i);
    return;
  }
  std::atomic<int64_t> next{0};
  Interruption* const interruption = interruption_here();
  at::parallel_for(0, std::min(threads, ranges), 1, [&](int64_t, int64_t) {
    const c10::InferenceMode inference;  // each thread has these settings for itself
    const Interruptible interruptible(interruption);
    for (int64_t i = next++; i < ranges; i = next++) range(i);
  });
}

}  // namespace flowcache
