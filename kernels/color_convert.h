// SPDX-License-Identifier: LGPL-2.1-or-later
// Decoded frames to the pixel formats that leave the library.
#pragma once

#include <ATen/ATen.h>

#include "flowcache.h"

namespace flowcache {

// Writes one frame [3, H, W] fp32, R'G'B' in 0..1 (clamped; NaN is 0), into the caller's planes; any strides
// of the frame. Every sample is rounded to nearest.
//   RGBA        full range, alpha 255
//   NV12, I420  BT.709, limited range, 4:2:0 sited left (MPEG-2): a chroma sample lies on an even column,
//   between two
//               rows; 1-2-1 across, mean of two down, edges repeated. (W+1)/2 x (H+1)/2 chroma samples
// planes is checked: FC_ERROR_ARGUMENT for an unknown format, a null plane or a stride shorter than a row;
// FC_ERROR_DEVICE for memory that is not the host's. A frame on another device is copied to the host first.
void color_convert(const at::Tensor& frame, const fc_planes& planes);

}  // namespace flowcache
