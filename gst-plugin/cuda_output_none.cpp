// SPDX-License-Identifier: LGPL-2.1-or-later
// Built without GStreamer's CUDA library: no frames in CUDA memory.
#include "cuda_output.h"

namespace flowcache::gst {

struct CudaOutput::Handles {};
CudaOutput::CudaOutput() = default;
CudaOutput::~CudaOutput() = default;
bool CudaOutput::driver_answers() {
  return false;
}
void CudaOutput::open(GstElement*, const std::string&) {}
bool CudaOutput::prepare(GstElement*) {
  return false;
}
GstBufferPool* CudaOutput::make_pool(GstBufferPool* offered, GstCaps*, guint*, guint, guint) {
  gst_clear_object(&offered);
  return nullptr;
}
fc_status CudaOutput::write(GstElement*, GstBuffer*, const GstVideoInfo&, bool, const PlaneWriter&,
                            MemoryPath*, std::string*) {
  return FC_ERROR_INTERNAL;
}
GstObject* CudaOutput::primary_context() const {
  return nullptr;
}
bool CudaOutput::device_memory(guint64*, guint64*) const {
  return false;
}
guint64 CudaOutput::context_copies() const {
  return 0;
}
void CudaOutput::reset() {}
void CudaOutput::release() {}
void CudaOutput::set_context(GstElement*, GstContext*) {}
bool CudaOutput::answer(GstElement*, GstQuery*) {
  return false;
}
}  // namespace flowcache::gst
