// SPDX-License-Identifier: LGPL-2.1-or-later
// Where modules are that this library opens at run time.
#pragma once

#include <string>
#include <vector>

namespace flowcache {

// Paths for dlopen(), in the order in which they are tried: beside this library, where they are installed; in `build_folder`,
// relative to it, where a build puts them; and where the loader looks. Any thread.
std::vector<std::string> module_places(const std::string& file, const std::string& build_folder);

}  // namespace flowcache
