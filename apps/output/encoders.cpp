// SPDX-License-Identifier: LGPL-2.1-or-later
#include "encoders.h"

#include "handles.h"

namespace flowcache {
namespace {

bool is_installed(const char* element) {
  const GstPtr<GstElementFactory> factory(gst_element_factory_find(element));
  return factory != nullptr;
}

std::string setting(const char* name, unsigned value) {
  return std::string(" ") + name + "=" + std::to_string(value);
}

}  // namespace

// No B frames and no look-ahead (tune=zerolatency, bframes=0): no frame waits for a later one. A constant
// rate, in bursts of half a second at most (vbv-buf-capacity is in ms): no queue on the way fills up.

std::string h264_encoder(unsigned kbit_per_second, unsigned keyframe_distance) {
  const std::string rate = setting("bitrate", kbit_per_second);
  if (is_installed("nvh264enc"))
    return "nvh264enc preset=low-latency-hq rc-mode=cbr bframes=0" + rate +
           setting("gop-size", keyframe_distance);
  if (is_installed("vah264enc"))
    return "vah264enc rate-control=cbr b-frames=0" + rate + setting("key-int-max", keyframe_distance);
  return x264_encoder(kbit_per_second, keyframe_distance);
}

std::string x264_encoder(unsigned kbit_per_second, unsigned keyframe_distance) {
  return "x264enc tune=zerolatency speed-preset=veryfast vbv-buf-capacity=500" +
         setting("bitrate", kbit_per_second) + setting("key-int-max", keyframe_distance);
}

std::string vp8_encoder(unsigned kbit_per_second, unsigned keyframe_distance) {
  return "vp8enc deadline=1 cpu-used=8 threads=2 lag-in-frames=0 end-usage=cbr error-resilient=default "
         "min-quantizer=4" +
         setting("target-bitrate", kbit_per_second * 1000) + setting("keyframe-max-dist", keyframe_distance);
}

std::string aac_encoder(unsigned kbit_per_second) {
  // Its default, twoloop, never ends on some sounds and contents of fresh memory (FFmpeg 5.1: ticks, MALLOC_PERTURB_=47).
  return "avenc_aac aac-coder=fast" + setting("bitrate", kbit_per_second * 1000);
}

std::string opus_encoder() {
  return "opusenc";
}

}  // namespace flowcache
