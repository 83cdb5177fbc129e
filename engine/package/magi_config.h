// SPDX-License-Identifier: LGPL-2.1-or-later
// What MAGI-1's own code is configured with: example/4.5B/4.5B_distill_config.json and its like.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace flowcache {

// Reads such a file. Null if it is none.
nlohmann::json read_magi_config(const std::filesystem::path& file);

// Takes the network's shape, the steps and the picture from it into a model.json of MAGI-1. Of its other sections only
// what model.json has already: a template leaves out what concerns the authors' machines.
void take_magi_config(nlohmann::ordered_json& model, const nlohmann::json& config);

}  // namespace flowcache
