// SPDX-License-Identifier: LGPL-2.1-or-later
// The files that a model.json names: which are there, which are missing, and where the
// missing ones are published.
#pragma once

#include <string>
#include <vector>

#include "package/model.h"

namespace flowcache {

// The names in a section's "file" or "files", in order. An index (….index.json) is replaced by the shards
// that its weight_map names; if the index is missing, its own name stays. A numbered shard as "file"
// (model-00001-of-00003.safetensors) stands for all of its set. Every name must lie in the model's
// folder, so that a downloaded model.json reads nothing else. name: of the section, for messages. Throws
// FC_ERROR_MODEL if there are no names, for a name that leaves the folder, for a damaged index, and for a
// numbered set of shards (…-00002-of-00005…) that is not listed in full.
std::vector<std::string> section_files(const ModelPackage& package, const nlohmann::json& section,
                                       const std::string& name);

// Of a numbered shard (model-00002-of-00003.safetensors), the name of the first of its set; "" for another name.
std::string first_shard(const std::string& file);

struct PackageFile {
  std::string section, name;
  std::string source;  // what "sources" of model.json says about it; "" if nothing
  bool present = false;
  uint64_t bytes = 0;
};

// All files that the package names: weights of all sections, LoRAs, tokenizer, special tokens.
std::vector<PackageFile> package_files(const ModelPackage& package);

// Throws one FC_ERROR_NOT_FOUND that names every missing file and its source. A package of random weights
// needs no files.
void check_files(const ModelPackage& package);

}  // namespace flowcache
