// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1 as a stream runs it, one chunk at a time: the passes that its published pipeline makes for a
// velocity, behind the seam that every family shares.
//
//   distilled  with history; above a time also alone, and the two are blended
//   base       three passes (magi_guidance.h): with caption and history, with history only, alone
//
// The passes of a chunk share its embedded latent, so tokens are [passes * L, dim], one pass after the other;
// keys and values of the two passes with history lie side by side in the cache, as twice the heads. The pass
// alone is left out where it has no weight, exactly. The pass with caption runs even where it has none:
// younger chunks attend its keys.
//
// Time at this seam is noise, as in every other family: timestep 1 - t, and 0 for the finished chunk, which
// then runs at clean_time with the empty caption, as published.
#pragma once

#include <optional>

#include "families/magi/magi.h"
#include "families/magi/magi_guidance.h"

namespace flowcache {

struct MagiPasses {
  bool guided = false;  // runtime_config.cfg_number 3
  MagiGuidance guidance;
  std::optional<double>
      near_clean;              // engine_config.distill_nearly_clean_chunk_threshold, of a distilled model
  double history_share = 0.7;  // of the blend
  std::vector<int> key_range;  // runtime_config.noise2clean_kvrange: chunks attended, own included, by equal
                               // parts of the steps; empty: all that the cache holds
  int clean_key_range = 1;     // runtime_config.clean_chunk_kvrange, where key_range is given; <= 0: its last
  double clean_time = 0.9999;  // runtime_config.clean_t
  std::string shortcut = "8,16,16";  // engine_config.shortcut_mode: the 12-step grid

  // Reads a published config.json; absent fields mean no guidance, no second pass, all keys. Throws
  // FC_ERROR_MODEL.
  static MagiPasses from_json(const nlohmann::json& config);
};

// How far along its grid a time is, 0..1: the inverse of magi_timesteps() with shift 3.
double magi_progress(double t);
// What the 12-step model is told of the step at time t, 1 or 2; 1 for every other number of steps.
double magi_time_interval(double t, int steps, const std::string& shortcut);

// Same errors as MagiTransformer.
std::unique_ptr<Transformer> make_magi(const nlohmann::json& config, WeightMap weights, Precision precision,
                                       at::Device device);

}  // namespace flowcache
