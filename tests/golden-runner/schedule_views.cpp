// SPDX-License-Identifier: LGPL-2.1-or-later
#include "schedule_views.h"

#include <algorithm>

namespace flowcache {

namespace {

// The step of every block at a tick: -1 waiting, N done. together: all blocks are one chunk.
std::vector<int> steps_at(int64_t tick, const Schedule& schedule, bool together, int blocks) {
  std::vector<int> step(blocks, -1);
  const auto due = schedule.tick(tick);
  for (int b = 0; b < blocks; ++b) {
    const int64_t chunk = together ? 0 : b;
    if (chunk < due.front().chunk) step[b] = schedule.steps();
    for (const ScheduledStep& one : due)
      if (one.chunk == chunk) step[b] = one.step;
  }
  return step;
}

}  // namespace

StepMatrix step_matrix(int steps, int ar_step, int blocks, int prefix_blocks, int base_blocks) {
  const bool together = ar_step == 0;
  const Schedule schedule(steps, together ? steps : std::min(ar_step, steps));
  const int moving = blocks - prefix_blocks;
  const int ticks = together ? steps : steps + (moving - 1) * schedule.lag();
  StepMatrix matrix;
  int terminal = base_blocks;
  for (int tick = 0; tick < ticks; ++tick) {
    const std::vector<int> step = steps_at(tick, schedule, together, moving);
    std::vector<int> index(prefix_blocks, steps + 1);
    std::vector<bool> update(prefix_blocks, false);
    for (const int s : step) {
      index.push_back(s + 1);
      update.push_back(s >= 0 && s < steps);
    }
    if (terminal < blocks && update[terminal]) ++terminal;
    matrix.interval_first.push_back(std::max(terminal - base_blocks, 0));
    matrix.interval_last.push_back(std::min(terminal, blocks));
    matrix.index.push_back(std::move(index));
    matrix.update.push_back(std::move(update));
  }
  return matrix;
}

std::vector<Stage> stage_table(int chunk_num, int window, int chunk_offset) {
  const Schedule schedule(window, 1);  // a tick of this schedule is a stage, and so is a step
  std::vector<Stage> stages;
  for (int i = 0; i < chunk_num - chunk_offset + window - 1; ++i) {
    Stage stage;
    bool first = true;
    for (const ScheduledStep& one : schedule.tick(i)) {
      const int chunk = static_cast<int>(one.chunk) + chunk_offset;
      if (chunk >= chunk_num) continue;
      if (first) stage = {chunk, chunk + 1, one.step, one.step + 1};
      first = false;
      stage.clip_end = chunk + 1;
      stage.t_start = one.step;
    }
    stages.push_back(stage);
  }
  return stages;
}

}  // namespace flowcache
