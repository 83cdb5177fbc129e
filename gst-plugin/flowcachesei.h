// SPDX-License-Identifier: LGPL-2.1-or-later
// The element flowcachesei: behind an encoder of H.264, H.265 or AV1 it writes each buffer's
// GstVideoSEIUserDataUnregisteredMeta into the bitstream, which the encoders of GStreamer 1.22 do not.
#pragma once

#include <gst/base/gstbasetransform.h>

G_BEGIN_DECLS

#define FLOWCACHE_TYPE_SEI (gst_flow_cache_sei_get_type())
G_DECLARE_FINAL_TYPE(GstFlowCacheSei, gst_flow_cache_sei, FLOWCACHE, SEI, GstBaseTransform)

G_END_DECLS
