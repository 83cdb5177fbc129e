// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes the model.json of a download: which model it is, where its parts lie, and what is missing.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace flowcache {

struct Adoption {
  std::vector<std::filesystem::path> given;  // a folder, or files
  std::filesystem::path to;         // the model's folder; empty: the folder that was given, or the files'
  std::filesystem::path templates;  // the folder of templates
  std::string as;                   // the template's name; "": by what is there
  bool replace = false;             // an existing model.json
};

// Writes model.json into the model's folder, and links there to files that lie elsewhere. Returns
//   name, file    the template that it was made of, and where model.json lies
//   sure          "by its keys", "by its name" or "a guess", and why
//   parts         [{what, file, layout}]    what is used
//   unused        [{what, file}]            what is not
// What is missing, inspect says from the new model.json. Throws FC_ERROR_NOT_FOUND for a path that is not there,
// FC_ERROR_MODEL if there is no transformer, or more than one model could be meant; FC_ERROR_ARGUMENT for a
// model.json that is there already, and for files of several folders without `to`.
nlohmann::json adopt(const Adoption& how);

}  // namespace flowcache
