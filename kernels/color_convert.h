// SPDX-License-Identifier: LGPL-2.1-or-later
// Converts decoded frames to the pixel formats that leave the library.
#pragma once

#include <ATen/ATen.h>

#include "flowcache.h"

namespace flowcache {

// Writes one frame into the caller's planes. frame: [3, H, W] fp32 of any strides, R'G'B' in 0..1 (other
// values are clamped, NaN becomes 0). Samples are rounded to nearest. Bytes between rows are left as they
// are.
//   RGBA        full range, alpha 255
//   NV12, I420  BT.709, limited range, 4:2:0 with (W+1)/2 x (H+1)/2 chroma samples, sited left (MPEG-2): a
//               chroma sample lies on an even column, between two rows. It is the mean of two rows, weighted
//               1-2-1 across columns; edges are repeated
//
// Host planes: a frame on another device is copied to the host first. CUDA planes: a frame on the host is
// converted there and uploaded with one copy for each plane; a frame on a GPU is converted there
// (cuda_kernels.h) and must be in the planes' context. Returns when the planes are written. The calling
// thread's CUDA context stays as it was. Any thread; several calls at once.
//
// Throws FC_ERROR_ARGUMENT for an unknown format or memory, a null plane, a stride shorter than a row, and a
// plane that is not in the memory it claims; FC_ERROR_DEVICE without driver or kernels, for planes of another
// context, and for what the driver refuses.
void color_convert(const at::Tensor& frame, const fc_planes& planes);

// The reverse: reads a caller's planes, as color_convert() writes them, into `frame`, [3, H, W] fp32, contiguous; R'G'B' are in
// 0..1. Alpha is ignored. Chroma is interpolated between its samples. Planes in CUDA memory of the frame's own context are
// converted there, on LibTorch's current stream; others are copied to the host first. Returns when the planes are read. Any
// thread. Throws as color_convert() does.
void color_read(const fc_planes& planes, const at::Tensor& frame);

// Whether planes say that they are in CUDA memory, whatever number a caller in C has put there.
bool in_cuda_memory(const fc_planes& planes);

// Waits until all that the calling thread has given LibTorch to do on this tensor's device is
// done; on the CPU there is nothing to wait for. A frame on a GPU must be finished before color_convert() gets it.
void wait_for_device(const at::Tensor& tensor);

// color_convert() on the CPU. frame: contiguous fp32 on the host; planes: on the host.
// Both are checked already.
void color_convert_on_cpu(const at::Tensor& frame, const fc_planes& planes);
// color_read(), of checked planes.
void color_read_on_cpu(const fc_planes& planes, const at::Tensor& frame);

}  // namespace flowcache
