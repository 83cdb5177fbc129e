// SPDX-License-Identifier: LGPL-2.1-or-later
// What both elements report with the frames that they push, on the streaming thread.
#pragma once

#include "flowcachesrc.h"

namespace flowcache::gst {

// The times of a frame: its timestamp, and for messages and events the running time and the stream time.
struct FrameTime {
  GstClockTime pts = 0, running = 0, stream = 0;
};

// At the first frame of a chunk: posts what became of prompts and LoRAs and, with report-chunks, how the chunk was made.
// Sends tags with the prompt that begins to hold, and asks the encoder for a keyframe if it is a cut. cut: it is one anyway.
void report_chunk(GstElement* element, SourceState& state, const Frame& frame, const FrameTime& time,
                  bool cut);

// Posts `flowcache-stats` if that is due at this running time.
void report_statistics(GstElement* element, SourceState& state, GstClockTime running);

}  // namespace flowcache::gst
