// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames of a model on the device into OpenGL textures, without the host: a texture's upload buffer is
// registered with CUDA once, and the engine writes into it while it is mapped.
#pragma once

#include <gst/video/video.h>

#include <string>

#include "cuda_output.h"

namespace flowcache::gst {

enum class GlWrite {
  Done,
  Failed,      ///< the engine's status and sentence say why
  Unavailable  ///< OpenGL is not on an NVIDIA GPU, or the buffer cannot be registered
};

/// Writes a frame into a buffer of GlOutput's pool (RGBA). primary: the engine's context, a GstCudaContext;
/// null is Unavailable. Hops to the thread of OpenGL and waits for it. Streaming thread.
GlWrite write_cuda_to_gl(GstObject* primary, GstBuffer* buffer, const GstVideoInfo& info,
                         const PlaneWriter& writer, fc_status* status, std::string* error);

}  // namespace flowcache::gst
