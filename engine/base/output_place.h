// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether a file can be written, asked before the work that it is for. Header only: the library and the tool
// use it.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

namespace flowcache {

// "", or why `file` cannot be created or written over: the folder is missing, it is a folder itself, no
// permission. Touches nothing.
inline std::string output_problem(const std::string& file) {
  std::error_code ignored;
  if (file.empty()) return "the name is empty";
  if (std::filesystem::is_directory(file, ignored)) return "it is a folder";
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  const bool there = std::filesystem::exists(file, ignored);
  if (!there && !folder.empty() && !std::filesystem::is_directory(folder, ignored))
    return "there is no folder " + folder.string();
  const std::string asked = there ? file : folder.empty() ? "." : folder.string();
  return access(asked.c_str(), there ? W_OK : W_OK | X_OK) == 0 ? "" : std::strerror(errno);
}

}  // namespace flowcache
