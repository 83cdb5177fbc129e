// SPDX-License-Identifier: LGPL-2.1-or-later
// Weights that a file does not hold as they are used: quantized ones with their scales, or those that a LoRA changes.
// They are computed one at a time, when a network takes them, so that a large checkpoint is never in memory twice.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <string>

#include "package/safetensors.h"

namespace flowcache {

// Makes the weight in a floating-point type.
using MakeWeight = std::function<at::Tensor(at::ScalarType type)>;

// A stand-in of this shape without data. Sizes and type can be asked; any arithmetic fails, until dense() has made
// a tensor of it. type: what the weight counts as, such as in check_weights().
at::Tensor deferred(at::IntArrayRef shape, at::ScalarType type, MakeWeight make);

// The weight itself; what stands in for one is made, in this type.
at::Tensor dense(const at::Tensor& weight, at::ScalarType type = at::kFloat);

// As dense(), and the weight is no longer in `weights` afterwards, so that its memory can go as soon as it is used.
// Throws FC_ERROR_INTERNAL if there is none of this name.
at::Tensor taken(WeightMap& weights, const std::string& name, at::ScalarType type = at::kFloat);

// stored · scale, in the shape of the weight. stored [rows, …], in a type of few bits; scale: broadcasts against it.
at::Tensor scaled_weight(const at::Tensor& stored, const at::Tensor& scale, at::IntArrayRef shape);

}  // namespace flowcache
