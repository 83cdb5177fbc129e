// SPDX-License-Identifier: LGPL-2.1-or-later
// The table of contents of a zip archive whose files are stored as they are, as PyTorch and numpy write weights.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "package/mapping.h"

namespace flowcache {

// Where a file's bytes lie in the archive.
struct ZipEntry {
  uint64_t begin = 0, bytes = 0;
};

// All files by name. Every figure is checked against the archive. Throws FC_ERROR_MODEL for an archive that is cut
// off, damaged, compressed or encrypted, or that has a name twice.
std::map<std::string, ZipEntry> read_zip(const Mapping& archive);

}  // namespace flowcache
