// SPDX-License-Identifier: LGPL-2.1-or-later
#include "log.h"

GST_DEBUG_CATEGORY(flowcache_src_debug);
GST_DEBUG_CATEGORY(flowcache_engine_debug);

namespace flowcache::gst {

void init_log() {
  GST_DEBUG_CATEGORY_INIT(flowcache_src_debug, "flowcachesrc", 0, "FlowCache source");
  GST_DEBUG_CATEGORY_INIT(flowcache_engine_debug, "flowcacheengine", 0, "FlowCache engine");
}

}  // namespace flowcache::gst
