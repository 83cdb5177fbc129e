// SPDX-License-Identifier: LGPL-2.1-or-later
// Work on the rows of a tensor, split over the cores.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>

namespace flowcache {

// Fewest and most rows of a range. A matrix product wants some dozens for full speed.
struct RangeSize {
  int64_t least = 32, most = 64;
};

// Calls work(first, count) for ranges that cover [0, rows) once, each on one thread, several at a time on a
// CPU; in one call elsewhere. The ranges depend on `rows` and the number of threads only. There are more
// ranges than threads where rows allow, so that a core that other programs keep busy holds up the others
// less. Rethrows what `work` throws.
template <typename Work>
void for_row_ranges(at::Device device, int64_t rows, const Work& work, RangeSize size = {}) {
  if (!device.is_cpu()) return work(0, rows);
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
