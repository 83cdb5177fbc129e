// SPDX-License-Identifier: LGPL-2.1-or-later
// How a photo must be turned. Most decoders do not do that.
#pragma once

#include <string>

namespace flowcache {

// The orientation in the EXIF block of a JPEG, PNG or WebP file: 1 to 8, as in TIFF 6.0, "Orientation". 0 for other
// files, for files that do not say it, and for damaged ones. Thread-safe.
int exif_orientation(const std::string& path);

}  // namespace flowcache
