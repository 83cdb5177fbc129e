// SPDX-License-Identifier: LGPL-2.1-or-later
// An image or a video that the stream goes on from, as GStreamer's own elements decode it.
#pragma once

#include <gst/gst.h>
#include <gst/video/video.h>

#include <functional>
#include <optional>
#include <string>

#include "worker.h"

namespace flowcache::gst {

inline constexpr uint32_t kMaxPrefixFrames = 4096;  ///< of fc_stream_config

/// All frames of a file, one for one whatever its frame rate: turned upright, on black where they are
/// transparent, scaled to this size. Blocks; asks `go_on` many times a second. On failure no frames, and
/// `error` names the file, what is wrong and the remedy. Any thread.
PrefixFrames load_prefix(const std::string& path, uint32_t width, uint32_t height,
                         const std::function<bool()>& go_on, std::string* error);

/// How the EXIF block of a JPEG, PNG or WebP file says that the picture is to be turned, which its decoder
/// does not do. Nothing for other files, for those that do not say it, and for damaged ones.
std::optional<GstVideoOrientationMethod> exif_orientation(const std::string& path);

}  // namespace flowcache::gst
