// SPDX-License-Identifier: LGPL-2.1-or-later
// Which memory caps speak of.
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

enum class MemoryKind { System, Cuda, Gl };

/// Of one structure of caps; Cuda and Gl if the feature is named, System for everything else.
MemoryKind memory_kind_of(const GstCaps* caps, guint index = 0);
/// Whether caps ask for this memory by name, and not just accept anything.
bool names_memory(const GstCaps* caps, MemoryKind kind);
/// Caps of the same picture in that memory; owned by the caller.
GstCaps* caps_in_memory(const GstStructure* structure, MemoryKind kind);
/// The structures of caps in that memory; owned by the caller.
GstCaps* only_memory(const GstCaps* caps, MemoryKind kind);

}  // namespace flowcache::gst
