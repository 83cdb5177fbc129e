// SPDX-License-Identifier: LGPL-2.1-or-later
// What to choose so that a model fits a GPU of a given size, by the same figures as the check before loading.
#pragma once

#include <cstdint>
#include <vector>

#include "families/preflight.h"

namespace flowcache {

// The driver's context, workspaces of cuBLAS and cuDNN, blocks of LibTorch's allocator that are not full, and a
// desktop. An estimate: no card was there to measure it.
constexpr uint64_t gpu_reserve = 1'000'000'000;

// Settings of a model, from the one with the best picture to the one that takes least.
struct Fit {
  bool fits = false;           // false: the settings are those that take least
  bool fp8 = false;            // precision fp8; else bf16
  int64_t history = 0;         // cache.history_chunks in model.json
  bool one_at_a_time = false;  // sampler.lag 0 in model.json: one chunk in flight where the model has several
  Pixels size;
  uint64_t device_bytes = 0, host_bytes = 0;  // needs of one stream
};

// The first settings that leave gpu_reserve of `gpu_bytes` unused. In this order: fp8 weights, a shorter history (but two
// chunks of it, if the model has as many), one chunk in flight, a smaller picture. The text encoder stays where the
// model has it, and the decoder too. Weights' sizes are those of their shapes, so no file need exist.
Fit fit_to_gpu(const ModelPackage& package, uint64_t gpu_bytes);

// `package` with the settings' history, chunks in flight and size.
ModelPackage with_fit(const ModelPackage& package, const Fit& fit);

}  // namespace flowcache
