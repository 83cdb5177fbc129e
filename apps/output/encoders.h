// SPDX-License-Identifier: LGPL-2.1-or-later
// The encoders of all programs and scripts, with their settings. They are written down here and nowhere else:
// the scripts in pipelines/ ask for them with flowcache-ask.
#pragma once

#include <string>

namespace flowcache {

// Each function gives a piece of a gst-launch line: the name of an element and its properties.
//
// `keyframe_distance` is in frames. A viewer that joins waits that long for a picture, and segments (HLS,
// RTMP servers) are cut at key frames.

// H.264 for a live stream: NVIDIA's or VA-API's encoder where there is one, else x264.
std::string h264_encoder(unsigned kbit_per_second, unsigned keyframe_distance);
// The same by x264 on every machine.
std::string x264_encoder(unsigned kbit_per_second, unsigned keyframe_distance);
std::string vp8_encoder(unsigned kbit_per_second, unsigned keyframe_distance);
std::string aac_encoder(unsigned kbit_per_second);
std::string opus_encoder();

}  // namespace flowcache
