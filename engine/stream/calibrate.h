// SPDX-License-Identifier: LGPL-2.1-or-later
// Measures what MagCache must know of a model (arXiv 2506.09045, section on calibration): how the magnitude
// of the velocity changes from step to step. Every step is computed for this.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "stream/stream.h"

namespace flowcache {

struct Calibration {
  // Each curve has one value for each step; the first is always 1. Value s is the mean of |v_s| / |v_(s-1)|
  // over the latent positions, where the norms are over the channels.
  std::vector<double> curve;        // mean over the chunks that have a history
  std::vector<double> first_chunk;  // mean over the chunks without a history
  std::vector<double> spread;       // largest distance from `curve` of any chunk with a history
  int chunks = 0;                   // number of chunks measured, over all prompts

  // {"magcache": curve, "first_chunk": …, "spread": …, "chunks": …}; the option magcache:curve_file=… reads
  // it.
  std::string json() const;
};

// Makes `chunks` >= 2 chunks of each prompt. Calls `progress` with the share that is done, 0..1; if it
// returns false, throws FC_CANCELLED. Throws FC_ERROR_ARGUMENT for fewer chunks or no prompt, and what Stream
// throws.
Calibration calibrate(const std::shared_ptr<const LoadedModel>& model, const StreamConfig& config,
                      const std::vector<std::string>& prompts, int chunks,
                      const std::function<bool(double)>& progress);

}  // namespace flowcache
