// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_output.h"

#include "cuda_gl_output.h"
#include "frame_planes.h"
#include "log.h"

namespace flowcache::gst {
namespace {

struct Output {
  GstFlowCacheSrc* source;
  SourceState& state;
  const FrameWorker& worker;
};

bool engine_is_on_cuda(const FrameWorker& worker) {
  const std::shared_ptr<LoadedEngine> engine = worker.engine();
  const char* device = engine ? engine->key().library->engine_device(engine->handle()) : "";
  return g_str_has_prefix(device, "cuda");
}

PlaneWriter writer_of(const Frame& frame) {
  return [&frame](const fc_planes& planes, std::string* problem) {
    return frame.chunk->write(frame.index, planes, problem);
  };
}

fc_status write_cuda(const Output& out, const Frame& frame, GstBuffer* buffer, std::string* error) {
  SourceState& state = out.state;
  const PlaneWriter writer = writer_of(frame);
  MemoryPath path = MemoryPath::CudaUpload;
  const auto write = [&](bool on_device) {
    const fc_status status =
        state.cuda.write(GST_ELEMENT(out.source), buffer, state.info, on_device, writer, &path, error);
    state.memory_path = path;
    return status;
  };
  if (!state.engine_writes_cuda || !engine_is_on_cuda(out.worker)) return write(false);
  const fc_status status = write(true);
  if (status != FC_ERROR_DEVICE) return status;
  GST_WARNING_OBJECT(out.source, "the engine cannot write CUDA memory, frames are uploaded: %s",
                     error->c_str());
  state.engine_writes_cuda = false;
  return write(false);
}

fc_status write_host(const Output& out, const Frame& frame, GstBuffer* buffer, std::string* error) {
  SourceState& state = out.state;
  GstVideoFrame video;
  if (!gst_video_frame_map(&video, &state.info, buffer, GST_MAP_WRITE)) {
    *error = "Downstream's buffer cannot be written to.";
    return FC_ERROR_DEVICE;
  }
  const fc_status status = frame.chunk->write(frame.index, planes_of(&video, FC_MEMORY_HOST), error);
  gst_video_frame_unmap(&video);
  state.memory_path = state.memory == MemoryKind::Gl ? MemoryPath::GlUpload : MemoryPath::System;
  return status;
}

/// Without the host if the model and OpenGL are on one device.
fc_status write_gl(const Output& out, const Frame& frame, GstBuffer* buffer, std::string* error) {
  SourceState& state = out.state;
  if (!state.textures_from_cuda || !state.engine_writes_cuda || !engine_is_on_cuda(out.worker))
    return write_host(out, frame, buffer, error);
  GstObject* primary = state.cuda.primary_context();
  fc_status status = FC_OK;
  const GlWrite result = write_cuda_to_gl(primary, buffer, state.info, writer_of(frame), &status, error);
  gst_clear_object(&primary);
  if (result == GlWrite::Done) {
    state.memory_path = MemoryPath::CudaGl;
    return FC_OK;
  }
  if (result == GlWrite::Failed && status != FC_ERROR_DEVICE) return status;
  GST_WARNING_OBJECT(out.source, "textures cannot be written by CUDA, frames are uploaded: %s",
                     result == GlWrite::Failed ? error->c_str() : "OpenGL is not on this device");
  state.textures_from_cuda = false;
  return write_host(out, frame, buffer, error);
}

}  // namespace

fc_status write_frame(GstFlowCacheSrc* source, const FrameWorker& worker, const Frame& frame,
                      GstBuffer* buffer, std::string* error) {
  const Output out{source, *source->state, worker};
  switch (out.state.memory) {
    case MemoryKind::Cuda:
      return write_cuda(out, frame, buffer, error);
    case MemoryKind::Gl:
      return write_gl(out, frame, buffer, error);
    default:
      return write_host(out, frame, buffer, error);
  }
}

bool write_black(const SourceState& state, GstBuffer* buffer) {
  GstVideoFrame video;
  if (!gst_video_frame_map(&video, &state.info, buffer, GST_MAP_WRITE)) return false;
  const bool rgb = GST_VIDEO_INFO_IS_RGB(&state.info);
  for (guint component = 0; component < GST_VIDEO_FRAME_N_COMPONENTS(&video); ++component) {
    // Red, green, blue and alpha at full range; luma and chroma at video's.
    const guint8 black = rgb ? (component == 3 ? 255 : 0) : (component == 0 ? 16 : 128);
    auto* row = static_cast<guint8*>(GST_VIDEO_FRAME_COMP_DATA(&video, component));
    const gint step = GST_VIDEO_FRAME_COMP_PSTRIDE(&video, component);
    for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT(&video, component); ++y) {
      for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH(&video, component); ++x) row[x * step] = black;
      row += GST_VIDEO_FRAME_COMP_STRIDE(&video, component);
    }
  }
  gst_video_frame_unmap(&video);
  return true;
}

}  // namespace flowcache::gst
