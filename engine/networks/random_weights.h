// SPDX-License-Identifier: LGPL-2.1-or-later
// Shapes without a checkpoint: weights drawn at random, so that a full-size model's memory and speed can be
// measured on any machine.
#pragma once

#include <functional>

#include "networks/text/text_encoder.h"
#include "package/model.h"

namespace flowcache {

// The keys that a network wants, asked by building it from nothing.
std::vector<WeightSpec> wanted_by(const std::function<void(WeightMap)>& build);

// bf16 tensors of a trained network's order of magnitude under the wanted names. They are views of one buffer
// as large as the largest of them: what a network copies is what it really needs. Optional keys are left out.
WeightMap random_weights(const std::vector<WeightSpec>& wanted);

// As 16-bit floats; optional keys do not count.
int64_t bytes_of(const std::vector<WeightSpec>& wanted);

// Stands in for a text encoder: as many rows as a long prompt has tokens, the same for the same prompt.
std::unique_ptr<TextEncoder> make_random_text(const ModelPackage& package, at::Device device);

}  // namespace flowcache
