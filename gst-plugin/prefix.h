// SPDX-License-Identifier: LGPL-2.1-or-later
// An image or a video that the stream goes on from, as GStreamer's own elements decode it.
#pragma once

#include <functional>
#include <string>

#include "frame_worker.h"

namespace flowcache::gst {

inline constexpr uint32_t kMaxPrefixFrames = 4096;  ///< of fc_stream_config

/// All frames of a file, upright as its orientation says, on black where they are transparent, scaled to this size, one
/// for one whatever its frame rate. Blocks; asks `go_on` many
/// times a second. On failure no frames, and `error` names the file, what is wrong and the remedy. Any
/// thread.
PrefixFrames load_prefix(const std::string& path, uint32_t width, uint32_t height,
                         const std::function<bool()>& go_on, std::string* error);

}  // namespace flowcache::gst
