// SPDX-License-Identifier: LGPL-2.1-or-later
// The module for NCCL, and which card a rank has: two ranks of a group must not have the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "parallel/nccl/nccl_group.h"

namespace flowcache {

// Null if there is no such module, with the reason in `problem` if that is not null. Any thread.
const FcNcclFunctions* nccl_functions(std::string* problem = nullptr);

// The card that this device is, among those of all machines; "" if it is none or NCCL cannot be used here.
std::string card_of(at::Device device);

}  // namespace flowcache
