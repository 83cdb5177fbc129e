// SPDX-License-Identifier: LGPL-2.1-or-later
// From what was asked for and what the model says to what a stream runs with.
#pragma once

#include "samplers/sampler.h"
#include "stream/stream.h"

namespace flowcache {

struct ResolvedConfig {
  PictureSize size;
  ReuseChoice reuse;
  std::unique_ptr<ReusePolicy> policy;
  bool steers_threshold = false;                    // a deadline steers the policy's ε
  std::unique_ptr<GuidancePolicy> guidance_policy;  // may be null
  bool offloads = false;                            // what chunks keep waits in host memory
  KvChoice kv;
  double threshold = 0, default_threshold = 0;
  double guidance = 1, default_guidance = 1;
  int branches = 1;
  std::unique_ptr<Sampler> sampler;
  Schedule schedule{1, 1};
  KvGeometry kv_geometry;
  int64_t budget_tokens = 0;
};

// Fills every default and checks every range; throws FC_ERROR_ARGUMENT, FC_ERROR_NOT_FOUND, FC_ERROR_MEMORY
// (the KV buffer would not fit: figures).
ResolvedConfig resolve(const LoadedModel& model, const StreamConfig& config);

// 0..10 and finite, or FC_ERROR_ARGUMENT. Returns its argument.
double check_threshold(double threshold);
// 0..50 and finite, or FC_ERROR_ARGUMENT. Returns its argument.
double check_guidance(double guidance);

}  // namespace flowcache
