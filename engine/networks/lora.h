// SPDX-License-Identifier: LGPL-2.1-or-later
// LoRA (arXiv 2106.09685) merged into weights at load: W' = W + scale · alpha / rank · B A.
#pragma once

#include <string>

#include "package/safetensors.h"

namespace flowcache {

// Returns `weights` with every change of `lora` added, computed in fp32 and rounded to the weight's type;
// tensors that it does not touch are shared, not copied. Understood for a weight X.weight:
//   X.lora_A.weight [rank, in], X.lora_B.weight [out, rank]         (PEFT, diffusers; or
//   X.lora_A.NAME.weight) X.lora_down.weight, X.lora_up.weight, optional X.alpha          (kohya) X.diff,
//   X.diff_b, X.diff_m               (whole differences of weight, bias and modulation)
// X is spelled as lora_names.h says. Without alpha the factor alpha / rank is 1. Throws one FC_ERROR_MODEL
// that names what does not fit: keys of another model, halves without their other half, sizes, values that
// are not finite. `what` names the file. FC_ERROR_ARGUMENT for a scale that is not finite.
WeightMap merge_lora(const WeightMap& weights, const WeightMap& lora, double scale, const std::string& what);

}  // namespace flowcache
