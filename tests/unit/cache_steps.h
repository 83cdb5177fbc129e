// SPDX-License-Identifier: LGPL-2.1-or-later
// Scripted steps of a chunk, for tests of reuse policies.
#pragma once

#include <cmath>

#include "cache/registry.h"

namespace cache_steps {

using namespace flowcache;

struct Scripted {
  at::Tensor tokens, modulation, latent, velocity;
  bool must_compute = false;
};

// A step whose features all have the value `value`, of a chunk of `steps` steps. Sigmas fall evenly from 1 to
// 0.
inline ChunkStep make_step(int64_t chunk, int step, int steps, double value) {
  const double sigma = 1 - static_cast<double>(step) / steps;
  return {.info = {.chunk = chunk,
                   .step = step,
                   .steps = steps,
                   .timestep = 1000 * sigma,
                   .sigma = sigma,
                   .sigma_next = 1 - static_cast<double>(step + 1) / steps},
          .features = {.modulation = at::full({1, 6, 8}, value),
                       .tokens = at::full({4, 8}, value),
                       .latent = at::full({2, 1, 2, 2}, value)}};
}

// `count` steps whose features grow by the factor 1 + drift, so that their relative change is `drift`.
inline std::vector<Scripted> drifting(double drift, int count) {
  std::vector<Scripted> script;
  for (int i = 0; i < count; ++i) {
    const StepFeatures features = make_step(0, i, count, std::pow(1 + drift, i)).features;
    script.push_back({features.tokens, features.modulation, features.latent, features.latent * 0.5});
  }
  return script;
}

// Runs one chunk through a policy as the stream would. 1: computed, 0: reused.
inline std::vector<int> run(ReusePolicy& policy, const std::vector<Scripted>& script, double threshold,
                            std::vector<Decision>* seen = nullptr, int64_t chunk = 0) {
  std::vector<int> computed;
  for (size_t i = 0; i < script.size(); ++i) {
    ChunkStep step = make_step(chunk, static_cast<int>(i), static_cast<int>(script.size()), 0);
    step.features = {script[i].modulation, script[i].tokens, script[i].latent};
    step.info.must_compute = script[i].must_compute;
    const Decision decision = policy.decide({&step, 1}, threshold)[0];
    computed.push_back(decision.action == Action::compute);
    if (seen) seen->push_back(decision);
    if (decision.action == Action::compute)
      policy.computed(step, wants(policy.taps(), Tap::velocity) ? script[i].velocity : at::Tensor());
  }
  policy.end_chunk(chunk);
  return computed;
}

inline std::vector<std::string> reuse_names() {
  std::vector<std::string> names;
  for (const auto& entry : reuse_policies()) names.push_back(entry.name);
  return names;
}

}  // namespace cache_steps
