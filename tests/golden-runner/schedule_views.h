// SPDX-License-Identifier: LGPL-2.1-or-later
// Tables in the form of the published pipelines, for finite videos, made from the one rule of Schedule. They
// are compared with published numbers, and used by tests that render a finite clip.
#pragma once

#include <cstdint>
#include <vector>

#include "stream/schedule.h"

namespace flowcache {

// SkyReels-V2's step matrix: one row for each tick, one column for each block.
struct StepMatrix {
  std::vector<std::vector<int>> index;    // 0 waiting, s+1 at step s, N+1 done
  std::vector<std::vector<bool>> update;  // true: the block runs a step in this row
  std::vector<int> interval_first,
      interval_last;  // blocks [first, last) that the window of base_blocks shows the network
};
// ar_step 0: all blocks run their steps together. prefix_blocks are done from the start. base_blocks: width
// of the window.
StepMatrix step_matrix(int steps, int ar_step, int blocks, int prefix_blocks, int base_blocks);

// A stage of MAGI-1: the chunks in flight, and the part (1/window) of their steps that they are in.
struct Stage {
  int clip_start = 0, clip_end = 0;  // chunks [start, end)
  int t_start = 0, t_end = 0;        // the newest chunk is in stage t_start, the oldest in t_end - 1
};
// chunk_offset: number of chunks that a prefix video fills.
std::vector<Stage> stage_table(int chunk_num, int window, int chunk_offset);

}  // namespace flowcache
