// SPDX-License-Identifier: LGPL-2.1-or-later
// How a velocity moves a latent: one file for each method, one SamplerState for each chunk.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace flowcache {

// In step i the network is called with timestep[i], on a latent at noise level sigma[i].
struct StepTable {
  std::vector<double> timestep;  // N values in the network's unit
  std::vector<double> sigma;     // N + 1 values from 1 (noise) to 0 (clean); the last step ends at sigma[N]
  int steps() const { return static_cast<int>(timestep.size()); }
};

// Draws standard-normal noise of the latent's shape. The k-th draw of a chunk is always the same tensor.
using NoiseSource = std::function<at::Tensor()>;

// What a sampler remembers of one chunk between its steps. Not thread-safe.
class SamplerState {
 public:
  virtual ~SamplerState() = default;
  // Returns the latent after a step. x: the latent before it; velocity: the network's output; both
  // [C, F, h, w] fp32. step: 0..N-1; called once for each step, in order. The first call may be for a later step than 0, if
  // the chunk begins at that step's noise level.
  virtual at::Tensor step(const at::Tensor& x, const at::Tensor& velocity, int step,
                          const NoiseSource& noise) = 0;
};

// Immutable; any thread. Must outlive the states that it begins, which refer to it.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual const StepTable& table() const = 0;
  virtual std::unique_ptr<SamplerState> begin_chunk() const = 0;
  // True if steps draw fresh noise, as few_step does. What is extrapolated from step to step would then be
  // mostly noise, so streams refuse policies that do so.
  virtual bool renoises() const { return false; }
  // True if a step is x + v (sigma' - sigma). An error in v can then be repaired later by adding to x.
  virtual bool steps_linearly() const { return false; }
};

}  // namespace flowcache
