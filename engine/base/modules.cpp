// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/modules.h"

#include <dlfcn.h>

namespace flowcache {

std::vector<std::string> module_places(const std::string& file, const std::string& build_folder) {
  Dl_info info{};
  if (!dladdr(reinterpret_cast<void*>(&module_places), &info) || !info.dli_fname) return {file};
  const std::string self = info.dli_fname;
  const auto slash = self.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : self.substr(0, slash);
  return {folder + "/" + file, folder + "/" + build_folder + "/" + file, file};
}

}  // namespace flowcache
