// SPDX-License-Identifier: LGPL-2.1-or-later
// fc_default_model(): where the model that ships is.
#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "flowcache.h"

namespace {

// The folder that this library was loaded from.
std::filesystem::path library_folder() {
  Dl_info info{};
  std::error_code ignored;
  if (!dladdr(reinterpret_cast<void*>(&fc_default_model), &info) || !info.dli_fname) return {};
  return std::filesystem::canonical(info.dli_fname, ignored).parent_path();
}

std::string find_model() {
  // Taken at its word, right or wrong: the error then names it, instead of another model being used.
  if (const char* named = std::getenv("FLOWCACHE_MODEL"); named && *named) return named;
  std::vector<std::filesystem::path> places;
  const std::filesystem::path library = library_folder();
  places.push_back(library / "../../models/ambient");                  // build/engine -> the checkout
  places.push_back(library / "../share/flowcache/models/ambient");     // PREFIX/lib
  places.push_back(library / "../../share/flowcache/models/ambient");  // PREFIX/lib/x86_64-linux-gnu
  places.emplace_back(FLOWCACHE_DATA_DIR "/models/ambient");
  for (const auto& place : places) {
    std::error_code ignored;
    if (std::filesystem::exists(place / "model.json", ignored))
      return std::filesystem::canonical(place, ignored).string();
  }
  return "";
}

}  // namespace

extern "C" FC_API const char* fc_default_model(void) {
  try {
    static const std::string& found = *new const std::string(find_model());  // valid until the very end
    return found.empty() ? nullptr : found.c_str();
  } catch (...) {
    return nullptr;
  }
}
