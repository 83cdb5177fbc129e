// SPDX-License-Identifier: LGPL-2.1-or-later
// What model.json says about a model in front of everything else, and where models are. Needs no LibTorch, so
// that programs that only list models need not load it.
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

// root: of a model.json. Errors: MODEL (field, value, what is wanted).
ModelCard read_card(const Fields& root);

// A model.json as JSON. Errors: NOT_FOUND (it cannot be read), MODEL.
nlohmann::json read_model_json(const std::filesystem::path& file);

// The folder of the model that ships: $FLOWCACHE_MODEL as it is, else the first one beside a library in this
// folder (of a checkout, of an installation), else the installed data folder. Empty if none exists.
std::string shipped_model(const std::filesystem::path& library_folder);

}  // namespace flowcache
