// SPDX-License-Identifier: LGPL-2.1-or-later
// Measures on a model, with every step computed, what MagCache needs to know of it (arXiv 2506.09045, section
// on calibration): how much the velocity's magnitude changes from step to step.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "stream/stream.h"

namespace flowcache {

struct Calibration {
  // One value a step, the first always 1: mean over latent positions of |v_s| / |v_(s-1)|, norms over
  // channels.
  std::vector<double> curve;        // mean over the chunks that have a history
  std::vector<double> first_chunk;  // the same of the chunks without one
  std::vector<double> spread;       // largest distance of a chunk with history from `curve`
  int chunks = 0;                   // measured, over all prompts

  // {"magcache": curve, "first_chunk": …, "spread": …, "chunks": …}: what magcache:curve_file=… reads.
  std::string json() const;
};

// Streams `chunks` >= 2 chunks of each prompt. `progress` is told the share done and returns false to cancel
// (FC_CANCELLED). Throws FC_ERROR_ARGUMENT, and what a stream throws.
Calibration calibrate(const std::shared_ptr<const LoadedModel>& model, const StreamConfig& config,
                      const std::vector<std::string>& prompts, int chunks,
                      const std::function<bool(double)>& progress);

}  // namespace flowcache
