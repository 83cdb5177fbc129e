// SPDX-License-Identifier: LGPL-2.1-or-later
// Where frames are written and how they get to where downstream wants them; `memory-path` in `stats`.
#pragma once

namespace flowcache::gst {

enum class MemoryPath {
  System,      ///< into system memory
  GlUpload,    ///< into a texture's upload buffer; GStreamer uploads it
  CudaGl,      ///< by an engine on the device, straight into a texture's upload buffer
  CudaUpload,  ///< by an engine on the CPU: into pinned memory, one copy to the device
  Cuda,        ///< by an engine on the device, straight into CUDA memory
  CudaCopy     ///< as above, and one copy on the device into memory of somebody else's context
};

constexpr const char* name_of(MemoryPath path) {
  switch (path) {
    case MemoryPath::GlUpload:
      return "gl-upload";
    case MemoryPath::CudaGl:
      return "cuda-gl";
    case MemoryPath::CudaUpload:
      return "cuda-upload";
    case MemoryPath::Cuda:
      return "cuda";
    case MemoryPath::CudaCopy:
      return "cuda-copy";
    default:
      return "system";
  }
}

}  // namespace flowcache::gst
