// SPDX-License-Identifier: LGPL-2.1-or-later
// How a velocity moves a latent. One file a method; one SamplerState a chunk.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace flowcache {

// One row a step: the network is called with timestep[i] on a latent at noise level sigma[i].
struct StepTable {
  std::vector<double> timestep;  // N values in the network's unit
  std::vector<double> sigma;  // N + 1 values, 1 = noise … 0 = clean; sigma[N] is where the last step ends
  int steps() const { return static_cast<int>(timestep.size()); }
};

// Draws standard-normal noise of the chunk's latent shape; the k-th draw of a chunk is always the same
// tensor.
using NoiseSource = std::function<at::Tensor()>;

// The memory of one chunk between its steps.
class SamplerState {
 public:
  virtual ~SamplerState() = default;
  // x, velocity [C, F, h, w] fp32, step in 0..N-1, called once a step in order. Returns the latent after the
  // step.
  virtual at::Tensor step(const at::Tensor& x, const at::Tensor& velocity, int step,
                          const NoiseSource& noise) = 0;
};

class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual const StepTable& table() const = 0;
  virtual std::unique_ptr<SamplerState> begin_chunk() const = 0;
  // True if steps draw fresh noise (few-step re-noising): policies that compare latents between steps then
  // see mostly noise, and refuse.
  virtual bool renoises() const { return false; }
  // True if a step is x + v (sigma' - sigma), so that an error in v can be made good by adding to x later.
  virtual bool steps_linearly() const { return false; }
};

}  // namespace flowcache
