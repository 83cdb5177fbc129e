// SPDX-License-Identifier: LGPL-2.1-or-later
// How the published pipelines write down the one rule of Schedule, for finite videos. Used to hold the rule
// to their numbers, and by drivers that render a finite clip.
#pragma once

#include <cstdint>
#include <vector>

#include "stream/schedule.h"

namespace flowcache {

// SkyReels-V2's step matrix: one row a tick, one column a block.
struct StepMatrix {
  std::vector<std::vector<int>> index;    // 0 waiting, s+1 while at step s, N+1 done
  std::vector<std::vector<bool>> update;  // the block steps in this row
  std::vector<int> interval_first,
      interval_last;  // blocks [first, last) that the window of base_blocks shows the network
};
// ar_step 0: all blocks step together. prefix_blocks are done from the start. base_blocks: width of the
// window.
StepMatrix step_matrix(int steps, int ar_step, int blocks, int prefix_blocks, int base_blocks);

// MAGI-1's stage: which chunks are in flight and which quarter (1/window) of their steps they are in.
struct Stage {
  int clip_start = 0, clip_end = 0;  // chunks [start, end)
  int t_start = 0, t_end = 0;        // the newest chunk is in stage t_start, the oldest in t_end - 1
};
// chunk_offset: chunks that a prefix video already fills.
std::vector<Stage> stage_table(int chunk_num, int window, int chunk_offset);

}  // namespace flowcache
