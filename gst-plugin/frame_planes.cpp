// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_planes.h"

namespace flowcache::gst {

fc_planes planes_of(GstVideoFrame* video, fc_memory memory) {
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.memory = memory;
  switch (GST_VIDEO_FRAME_FORMAT(video)) {
    case GST_VIDEO_FORMAT_NV12:
      planes.format = FC_FORMAT_NV12;
      break;
    case GST_VIDEO_FORMAT_I420:
      planes.format = FC_FORMAT_I420;
      break;
    default:
      planes.format = FC_FORMAT_RGBA;
      break;
  }
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES(video) && i < 3; ++i) {
    planes.plane[i] = GST_VIDEO_FRAME_PLANE_DATA(video, i);
    planes.stride[i] = static_cast<uint32_t>(GST_VIDEO_FRAME_PLANE_STRIDE(video, i));
  }
  return planes;
}

}  // namespace flowcache::gst
