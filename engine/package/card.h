// SPDX-License-Identifier: LGPL-2.1-or-later
// The first facts that model.json states about a model, and where models are found. Needs no LibTorch, so
// that programs which only list models need not load it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "package/fields.h"

namespace flowcache {

struct ModelCard {
  std::string name, family, description, license;
  int64_t width = 0, height = 0;  // pixels
  int64_t fps_n = 0, fps_d = 1;
  int64_t latent_frames_per_chunk = 0, frames_per_chunk = 0;
};

// root: the whole object of a model.json. Throws FC_ERROR_MODEL, with the field, its value
// and what is wanted.
ModelCard read_card(const Fields& root);

// Reads a model.json. Throws FC_ERROR_NOT_FOUND if the file cannot be read, FC_ERROR_MODEL if it is no JSON
// or too large.
nlohmann::json read_model_json(const std::filesystem::path& file);

// The folder of the model that ships. $FLOWCACHE_MODEL if it is set, whether it exists or not; else the first
// that exists among the places beside library_folder (in a checkout, in an installation) and the installed
// data folder. Empty if none exists.
std::string shipped_model(const std::filesystem::path& library_folder);
// The folder of templates for published models, beside it; "" if there is none.
std::string shipped_templates(const std::filesystem::path& library_folder);

}  // namespace flowcache
