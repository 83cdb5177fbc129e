// SPDX-License-Identifier: LGPL-2.1-or-later
// One run of a pipeline that has a flowcachesrc named "source" in it.
#pragma once

#include <chrono>
#include <set>
#include <string>

#include "frames.h"

namespace demo {

using Clock = std::chrono::steady_clock;

// What flowcachesrc says in its `stats` property, as far as the demo shows it.
struct Stats {
  uint64_t chunks = 0;
  uint64_t steps_computed = 0, steps_reused = 0;
  uint64_t kv_bytes = 0, kv_budget = 0;
  uint64_t repeated = 0;  // frames shown again because no new one was ready
  double chunk_ms = 0;    // median wall time of a chunk, decoding included
};

struct RunConfig {
  std::string description;    // as for gst-launch-1.0
  std::string label;          // begins every line that is printed while it runs
  uint64_t total_frames = 0;  // how many are expected, for the progress
  double fps = 0;             // native rate
  double frames_per_chunk = 0;
  uint64_t keep_first = 0;  // keep copies of frames 0 … keep_first-1
  std::set<uint64_t> keep_also;
};

struct RunResult {
  std::string error;               // "" when the pipeline ended by itself
  bool interrupted = false;        // Ctrl-C: the file is finished all the same
  uint64_t frames = 0;             // that left the pad
  double pad_seconds = 0;          // from the first frame at the pad to the last
  double first_frame_seconds = 0;  // from the call to the first frame at the pad
  Stats stats;                     // at the end
  FrameStore kept;
};

// Runs to the end and prints progress and a live line to stdout. Ctrl-C ends the stream in order; a second
// one at once.
RunResult run(const RunConfig& config);

}  // namespace demo
