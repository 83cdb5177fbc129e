// SPDX-License-Identifier: LGPL-2.1-or-later
// LoRA (arXiv 2106.09685) merged into weights at load: W' = W + scale · alpha / rank · B A.
#pragma once

#include <string>

#include "package/safetensors.h"

namespace flowcache {

// Returns `weights` with every change of `lora` added. Sums are computed in fp32 and rounded to the weight's
// type, each when dense() of package/deferred.h takes it. Tensors without a change are shared with `weights`, not
// copied. These keys are understood, where X is a layer with a weight X.weight, spelled as lora_names.h says:
//   X.lora_A.weight [rank, in], X.lora_B.weight [out, rank]     PEFT, diffusers
//   X.lora_A.NAME.weight, X.lora_B.NAME.weight                  PEFT, with the adapter's name
//   X.lora_down.weight, X.lora_up.weight; X.alpha (optional)    kohya
//   X.diff, X.diff_b, X.diff_m                                  whole differences: weight, bias, modulation
// Without X.alpha the factor alpha / rank is 1.
//
// Throws one FC_ERROR_MODEL that lists all that does not fit: keys of another model, halves without their
// partner, wrong sizes, values that are not finite. `what` names the file in the message. FC_ERROR_ARGUMENT
// for a scale that is not finite.
WeightMap merge_lora(const WeightMap& weights, const WeightMap& lora, double scale, const std::string& what);

}  // namespace flowcache
