// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads an image or a video that the stream continues. Pictures are read as the command reads them (engine/pictures),
// videos with GStreamer's own elements.
#pragma once

#include <gst/gst.h>
#include <gst/video/video.h>

#include <functional>
#include <optional>
#include <string>

#include "worker.h"

namespace flowcache::gst {

inline constexpr uint32_t kMaxPrefixFrames = 4096;  // limit of fc_stream_config

// Reads all frames of a file, each once, whatever its size and frame rate. Frames are turned upright, put on black
// where they are transparent, scaled until they cover this size, and cropped around their middle. Blocks; calls `go_on` many times a second. On failure
// there are no frames, and `error` names the file, what is wrong and the remedy. Any thread.
PrefixFrames load_prefix(const std::string& path, uint32_t width, uint32_t height,
                         const std::function<bool()>& go_on, std::string* error);

// How the EXIF block of a JPEG, PNG or WebP file says that the picture must be turned. Nothing for other files, for files that do not say it, and for damaged ones.
std::optional<GstVideoOrientationMethod> exif_orientation(const std::string& path);

}  // namespace flowcache::gst
