// SPDX-License-Identifier: LGPL-2.1-or-later
// GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3.
#pragma once

#include <memory>

#include "package/safetensors.h"

namespace flowcache {

// All tensors, as views of the mapping. F32, F16, BF16, F64 and the whole numbers are read as they are; Q8_0 (whole
// numbers with a scale for every 32) becomes a weight that dense() of deferred.h makes. Throws FC_ERROR_MODEL for
// another type, which it names, and for a file whose counts, sizes or offsets do not fit it.
WeightMap read_gguf(const std::shared_ptr<Mapping>& mapping);

}  // namespace flowcache
