// SPDX-License-Identifier: LGPL-2.1-or-later
// Debug categories: `flowcachesrc` for the element, `flowcacheengine` for what the engine says.
#pragma once

#include <gst/gst.h>

GST_DEBUG_CATEGORY_EXTERN(flowcache_src_debug);
GST_DEBUG_CATEGORY_EXTERN(flowcache_engine_debug);
#define GST_CAT_DEFAULT flowcache_src_debug

namespace flowcache::gst {
/// Registers the categories; again and again is fine.
void init_log();
}  // namespace flowcache::gst
