// SPDX-License-Identifier: LGPL-2.1-or-later
// What two ranks must have in common.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "stream/loaded_model.h"

namespace flowcache {

// A digest of model.json and of its weights: of each file its name, its size and 64 pages spread over it, so that a model of
// many gigabytes takes no longer than a small one. With random weights, of model.json alone.
std::string digest_of(const ModelPackage& package);

// Versions of this library and of LibTorch, the model's digest, and the precision.
nlohmann::json identity_of(const LoadedModel& model);
// Why two ranks do not fit together; "" if they do.
std::string difference(const nlohmann::json& own, const nlohmann::json& theirs);

}  // namespace flowcache
