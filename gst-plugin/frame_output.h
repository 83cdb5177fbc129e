// SPDX-License-Identifier: LGPL-2.1-or-later
// A frame into a buffer, wherever that buffer's memory is.
#pragma once

#include <string>

#include "source_state.h"

namespace flowcache::gst {

/// Writes a frame into a buffer of the negotiated pool, on the shortest way that engine and memory allow, and
/// notes the way in `memory_path`. On failure the engine's status and a sentence. Streaming thread.
fc_status write_frame(GstFlowCacheSrc* source, const FrameWorker& worker, const Frame& frame,
                      GstBuffer* buffer, std::string* error);

/// Makes such a buffer black. False if it cannot be mapped. Streaming thread.
bool write_black(const SourceState& state, GstBuffer* buffer);

}  // namespace flowcache::gst
