// SPDX-License-Identifier: LGPL-2.1-or-later
// The files that a model.json names: which there are, which are missing, and where those come from.
#pragma once

#include <string>
#include <vector>

#include "package/model.h"

namespace flowcache {

// Names in a section's "file" or "files", in order. An index (….index.json) stands for the shards that its
// weight_map names, once it is there; before that, for itself. Every name lies inside the model's folder: a
// downloaded model.json reads nothing else. `name`: of the section, for messages. Throws FC_ERROR_MODEL: no
// names, names that leave the folder, a damaged index, and shards of one numbered set (…-00002-of-00005…) of
// which some are not listed.
std::vector<std::string> section_files(const ModelPackage& package, const nlohmann::json& section,
                                       const std::string& name);

struct PackageFile {
  std::string section, name;
  std::string source;  // what model.json's "sources" says of it; "" if nothing
  bool present = false;
  uint64_t bytes = 0;
};

// Everything that the package names: weights of all sections, LoRAs, tokenizer, special tokens.
std::vector<PackageFile> package_files(const ModelPackage& package);

// Throws one FC_ERROR_NOT_FOUND that names every missing file and its source. Nothing is missing from a
// package of random weights.
void check_files(const ModelPackage& package);

}  // namespace flowcache
