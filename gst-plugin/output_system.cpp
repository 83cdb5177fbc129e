// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gst/video/video.h>

#include "engine.h"
#include "flowcachesrc.h"
#include "output.h"

namespace flowcache::gst {

namespace {

constexpr const char* kCudaFeature = "memory:CUDAMemory";
constexpr const char* kGlFeature = "memory:GLMemory";

}  // namespace

MemoryKind memory_kind_of(const GstCaps* caps, guint index) {
  if (gst_caps_is_any(caps) || index >= gst_caps_get_size(caps)) return MemoryKind::System;
  const GstCapsFeatures* features = gst_caps_get_features(caps, index);
  if (gst_caps_features_is_any(features)) return MemoryKind::System;
  if (gst_caps_features_contains(features, kCudaFeature)) return MemoryKind::Cuda;
  return gst_caps_features_contains(features, kGlFeature) ? MemoryKind::Gl : MemoryKind::System;
}

bool names_memory(const GstCaps* caps, MemoryKind kind) {
  if (gst_caps_is_any(caps)) return false;
  for (guint i = 0; i < gst_caps_get_size(caps); ++i) {
    if (memory_kind_of(caps, i) == kind) return true;
  }
  return false;
}

GstCaps* caps_in_memory(const GstStructure* structure, MemoryKind kind) {
  GstStructure* s = gst_structure_copy(structure);
  // GstGLMemory with another target cannot be uploaded to.
  if (kind == MemoryKind::Gl) gst_structure_set(s, "texture-target", G_TYPE_STRING, "2D", nullptr);
  GstCaps* caps = gst_caps_new_full(s, nullptr);
  if (kind != MemoryKind::System) {
    gst_caps_set_features(
        caps, 0, gst_caps_features_new(kind == MemoryKind::Cuda ? kCudaFeature : kGlFeature, nullptr));
  }
  return caps;
}

GstCaps* in_system_memory(const GstCaps* caps) {
  if (gst_caps_is_any(caps)) return gst_caps_new_any();
  GstCaps* plain = gst_caps_new_empty();
  for (guint i = 0; i < gst_caps_get_size(caps); ++i) {
    GstStructure* s = gst_structure_copy(gst_caps_get_structure(caps, i));
    gst_structure_remove_field(s, "texture-target");
    gst_caps_append_structure(plain, s);
  }
  return plain;
}

GstCaps* only_memory(const GstCaps* caps, MemoryKind kind) {
  GstCaps* chosen = gst_caps_new_empty();
  for (guint i = 0; i < gst_caps_get_size(caps); ++i) {
    if (memory_kind_of(caps, i) == kind) gst_caps_append(chosen, gst_caps_copy_nth(caps, i));
  }
  return chosen;
}

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

GstBufferPool* pool_in(SourceState& state, MemoryKind memory, GstBufferPool* offered, GstCaps* caps,
                       guint* size, guint least, guint most, bool video_meta) {
  if (memory == MemoryKind::Gl) {
    gst_clear_object(&offered);
    return state.gl.make_pool(caps, size, least, most);
  }
  if (memory == MemoryKind::Cuda) return state.cuda.make_pool(offered, caps, size, least, most);
  GstBufferPool* pool =
      offered == nullptr ? nullptr : configured_pool(offered, caps, size, least, most, video_meta);
  return pool != nullptr ? pool
                         : configured_pool(gst_video_buffer_pool_new(), caps, size, least, most, video_meta);
}

GstBufferPool* configured_pool(GstBufferPool* pool, GstCaps* caps, guint* size, guint least, guint most,
                               bool video_meta) {
  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, *size, least, most);
  if (video_meta) gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (!gst_buffer_pool_set_config(pool, config)) {
    gst_object_unref(pool);
    return nullptr;
  }
  config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_get_params(config, nullptr, size, nullptr, nullptr);
  gst_structure_free(config);
  return pool;
}

namespace {

struct Output {
  GstElement* element;
  SourceState& state;
  const FrameWorker& worker;
};

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
        state.cuda.write(out.element, buffer, state.info, on_device, writer, &path, error);
    state.memory_path = path;
    return status;
  };
  if (!state.engine_writes_cuda || !engine_is_on_cuda(out.worker)) return write(false);
  const fc_status status = write(true);
  if (status != FC_ERROR_DEVICE) return status;
  GST_WARNING_OBJECT(out.element, "the engine cannot write CUDA memory, frames are uploaded: %s",
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

// Without a copy in host memory if the model and OpenGL are on the same device.
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
  GST_WARNING_OBJECT(out.element, "textures cannot be written by CUDA, frames are uploaded: %s",
                     result == GlWrite::Failed ? error->c_str() : "OpenGL is not on this device");
  state.textures_from_cuda = false;
  return write_host(out, frame, buffer, error);
}

}  // namespace

bool engine_is_on_cuda(const FrameWorker& worker) {
  const std::shared_ptr<LoadedEngine> engine = worker.engine();
  const char* device = engine ? engine->key().library->engine_device(engine->handle()) : "";
  return g_str_has_prefix(device, "cuda");
}

fc_status write_frame(GstElement* element, SourceState& state, const FrameWorker& worker, const Frame& frame,
                      GstBuffer* buffer, std::string* error) {
  const Output out{element, state, worker};
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
    // RGB has full range; luma and chroma have the range of video.
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
