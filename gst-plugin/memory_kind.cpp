// SPDX-License-Identifier: LGPL-2.1-or-later
#include "memory_kind.h"

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
  // GstGLMemory of other targets cannot be uploaded to.
  if (kind == MemoryKind::Gl) gst_structure_set(s, "texture-target", G_TYPE_STRING, "2D", nullptr);
  GstCaps* caps = gst_caps_new_full(s, nullptr);
  if (kind != MemoryKind::System) {
    gst_caps_set_features(
        caps, 0, gst_caps_features_new(kind == MemoryKind::Cuda ? kCudaFeature : kGlFeature, nullptr));
  }
  return caps;
}

GstCaps* only_memory(const GstCaps* caps, MemoryKind kind) {
  GstCaps* chosen = gst_caps_new_empty();
  for (guint i = 0; i < gst_caps_get_size(caps); ++i) {
    if (memory_kind_of(caps, i) == kind) gst_caps_append(chosen, gst_caps_copy_nth(caps, i));
  }
  return chosen;
}

}  // namespace flowcache::gst
