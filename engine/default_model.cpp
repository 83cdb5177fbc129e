// SPDX-License-Identifier: LGPL-2.1-or-later
// fc_default_model(): finds the model that is shipped with the library.
#include <dlfcn.h>

#include <filesystem>
#include <string>

#include "flowcache.h"
#include "package/card.h"

namespace {

// The folder that contains this library.
std::filesystem::path library_folder() {
  Dl_info info{};
  std::error_code ignored;
  if (!dladdr(reinterpret_cast<void*>(&fc_default_model), &info) || !info.dli_fname) return {};
  return std::filesystem::canonical(info.dli_fname, ignored).parent_path();
}

}  // namespace

extern "C" FC_API const char* fc_default_model(void) {
  try {
    static const std::string& found =
        *new const std::string(flowcache::shipped_model(library_folder()));  // never destroyed
    return found.empty() ? nullptr : found.c_str();
  } catch (...) {
    return nullptr;
  }
}
