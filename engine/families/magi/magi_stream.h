// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1 in a stream, one chunk at a time. It makes the passes that the published pipeline makes for one
// velocity, behind the interface that all families share.
//
//   distilled  a pass with history; after a given time also one without, and both are blended
//   base       three passes (magi_guidance.h): with caption and history, with history only, and alone
//
// The passes of a chunk share its embedded latent. Tokens are [passes * L, dim], one pass after the other. In
// the cache the keys and values of the two passes with history are side by side, as twice the heads. The pass
// alone does not run if its factor is zero, which changes nothing. The pass with caption always runs, because
// younger chunks attend its keys.
//
// Timesteps here count noise, as in all families: 1 - t, and 0 for the finished chunk. That one runs at
// clean_time with the empty caption, as published.
#pragma once

#include <optional>

#include "families/magi/magi.h"
#include "families/magi/magi_guidance.h"

namespace flowcache {

struct MagiPasses {
  bool guided = false;  // runtime_config.cfg_number is 3
  MagiGuidance guidance;
  // engine_config.distill_nearly_clean_chunk_threshold; only of a distilled model.
  std::optional<double> near_clean;
  double history_share = 0.7;  // factor of the pass with history in the blend
  // runtime_config.noise2clean_kvrange: how many chunks are attended, with the own one. Each entry holds for
  // an equal part of the steps. Empty: all that the cache holds.
  std::vector<int> key_range;
  int clean_key_range = 1;  // runtime_config.clean_chunk_kvrange, if key_range is given; <= 0: its last entry
  double clean_time = 0.9999;        // runtime_config.clean_t
  std::string shortcut = "8,16,16";  // engine_config.shortcut_mode, for the grid of 12 steps

  // Reads a published config.json. Absent fields mean no guidance, no second pass, and all keys. Throws
  // FC_ERROR_MODEL.
  static MagiPasses from_json(const nlohmann::json& config);
};

// The place of a time on its grid, 0..1: the inverse of magi_timesteps() with shift 3.
double magi_progress(double t);
// The number, 1 or 2, that the 12-step model is told for the step at time t; 1 for every other number of
// steps.
double magi_time_interval(double t, int steps, const std::string& shortcut);

// Throws what MagiTransformer throws.
std::unique_ptr<Transformer> make_magi(const nlohmann::json& config, WeightMap weights, Precision precision,
                                       at::Device device);

}  // namespace flowcache
