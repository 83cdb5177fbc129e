// SPDX-License-Identifier: LGPL-2.1-or-later
// Checks before long work that its result can be written. Header only, because the library and the
// command-line tool both use it.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

namespace flowcache {

// Returns "" if `file` can be created or overwritten, else the reason: its folder is missing, it is a folder,
// or permission is missing. Changes nothing on disk.
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
