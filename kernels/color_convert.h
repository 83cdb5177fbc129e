// SPDX-License-Identifier: LGPL-2.1-or-later
// Decoded frames to the pixel formats that leave the library.
#pragma once

#include <ATen/ATen.h>

#include "flowcache.h"

namespace flowcache {

// Writes one frame [3, H, W] fp32, R'G'B' in 0..1 (clamped; NaN is 0), into the caller's planes; any strides
// of the frame. Every sample is rounded to nearest. Bytes between rows are left as they are.
//   RGBA        full range, alpha 255
//   NV12, I420  BT.709, limited range, 4:2:0 sited left (MPEG-2): a chroma sample lies on an even column,
//               between two rows; 1-2-1 across, mean of two down, edges repeated.
//               (W+1)/2 x (H+1)/2 chroma samples
// Host planes: a frame on another device is copied to the host first. CUDA planes: a frame on the host is
// converted there and uploaded, with one copy a plane; one on a GPU is converted there by cuda_kernels.h and
// must be in the planes' context. Returns when the planes are written. The calling thread's CUDA context is
// left as it was.
// planes is checked: FC_ERROR_ARGUMENT for an unknown format or memory, a null plane, a stride shorter than a
// row, or a plane that is not in the memory it claims; FC_ERROR_DEVICE without driver or kernels, for planes
// of another context, and for what the driver refuses. Any thread; several at once.
void color_convert(const at::Tensor& frame, const fc_planes& planes);

// Until what the calling thread has asked LibTorch for on this tensor's device is done; nothing on the CPU.
// A frame on a GPU must have been waited for, by the thread that computed it, before color_convert().
void wait_for_device(const at::Tensor& tensor);

// The CPU's half: host frame, contiguous fp32, and host planes, both checked.
void color_convert_on_cpu(const at::Tensor& frame, const fc_planes& planes);

}  // namespace flowcache
