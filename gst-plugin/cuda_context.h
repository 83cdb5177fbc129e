// SPDX-License-Identifier: LGPL-2.1-or-later
// CUDA contexts as GStreamer holds them.
#pragma once

// GStreamer 1.24 gathers its headers in one, but has the single ones still.
#include <gst/cuda/gstcudacontext.h>

#include <string>

namespace flowcache::gst {

/// The primary context of a device, which LibTorch uses. Owned by the caller; null if the device is missing
/// or the driver old. It is released when the last memory has let go of the GstCudaContext.
GstCudaContext* wrap_primary_context(int device_number);

/// Bytes of a context's device that are in use, by whoever, and that it has. False if the driver does not
/// say.
bool device_memory_of(GstCudaContext* context, guint64* used, guint64* total);

/// 0 for "" (automatic) and "cuda", N for "cuda:N".
int cuda_device_number(const std::string& device);

/// Makes a context current for as long as it lives.
class CurrentContext {
 public:
  explicit CurrentContext(GstCudaContext* context) : pushed_(gst_cuda_context_push(context)) {}
  ~CurrentContext() {
    if (pushed_) gst_cuda_context_pop(nullptr);
  }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  bool pushed_;
};

}  // namespace flowcache::gst
