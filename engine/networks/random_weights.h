// SPDX-License-Identifier: LGPL-2.1-or-later
// Random weights in place of a checkpoint, so that memory and speed of a full-size model can be
// measured on any machine.
#pragma once

#include <functional>

#include "networks/text/text_encoder.h"
#include "package/model.h"

namespace flowcache {

// The keys that a network wants. `build` is called with an empty map, and its complaint lists them.
std::vector<WeightSpec> wanted_by(const std::function<void(WeightMap)>& build);

// bf16 tensors under the wanted names, with values of the size that trained weights have. All are views of
// one buffer that is about as large as the largest tensor, so that memory is taken only by what the network
// copies. Optional keys are left out.
WeightMap random_weights(const std::vector<WeightSpec>& wanted);

// Bytes of the wanted tensors as 16-bit floats; optional keys are not counted.
int64_t bytes_of(const std::vector<WeightSpec>& wanted);

// Takes the place of a text encoder: random features with as many rows as a long prompt has tokens. The same
// prompt gives the same features.
std::unique_ptr<TextEncoder> make_random_text(const ModelPackage& package, at::Device device);

}  // namespace flowcache
