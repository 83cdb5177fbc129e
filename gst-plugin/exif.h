// SPDX-License-Identifier: LGPL-2.1-or-later
// How a still picture wants to be turned, which its decoder does not do.
#pragma once

#include <gst/video/video.h>

#include <optional>
#include <string>

namespace flowcache::gst {

/// What the EXIF block of a JPEG, PNG or WebP file says of its orientation. Nothing for other files, for
/// those without a word about it, and for damaged ones.
std::optional<GstVideoOrientationMethod> exif_orientation(const std::string& path);

}  // namespace flowcache::gst
