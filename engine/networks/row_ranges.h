// SPDX-License-Identifier: LGPL-2.1-or-later
// Work on the rows of a tensor, split over the cores.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>

namespace flowcache {

// Calls work(first, count) for ranges that cover [0, rows) once, each on one thread, several at a time on a
// CPU; in one call elsewhere. The ranges depend on `rows` and the number of threads only. There are more
// ranges than threads where rows allow, so that a core that other programs keep busy holds up the others
// less. Rethrows what `work` throws.
template <typename Work>
void for_row_ranges(at::Device device, int64_t rows, const Work& work) {
  constexpr int64_t most = 64, least = 32;  // rows of a range: enough for full speed of a matrix product
  const int64_t threads = at::get_num_threads();
  const int64_t wanted = threads * ((rows + threads * most - 1) / (threads * most));
  const int64_t ranges = std::max<int64_t>(1, std::min(wanted, rows / least));
  if (!device.is_cpu() || threads == 1 || ranges == 1 || at::in_parallel_region()) {
    const int64_t pieces = device.is_cpu() ? ranges : 1;
    for (int64_t i = 0; i < pieces; ++i) work(rows * i / pieces, rows * (i + 1) / pieces - rows * i / pieces);
    return;
  }
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min(threads, ranges), 1, [&](int64_t, int64_t) {
    const c10::InferenceMode inference;  // a setting of each thread
    for (int64_t i = next++; i < ranges; i = next++)
      work(rows * i / ranges, rows * (i + 1) / ranges - rows * i / ranges);
  });
}

}  // namespace flowcache
