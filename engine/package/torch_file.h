// SPDX-License-Identifier: LGPL-2.1-or-later
// Files that torch.save writes (.pt, .pth, .bin): a zip archive of a pickle and of a file for each storage. And
// numpy's .npz, a zip archive of arrays.
#pragma once

#include <memory>

#include "package/safetensors.h"

namespace flowcache {

// All tensors in it, as views of the mapping, whose names are those of the dicts around them, joined by dots. Other
// values are left out. Nothing in it is run. Throws FC_ERROR_MODEL for a pickle that asks for anything but tensors, and
// for a file that is damaged.
WeightMap read_torch(const std::shared_ptr<Mapping>& mapping);

}  // namespace flowcache
