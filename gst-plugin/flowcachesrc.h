// SPDX-License-Identifier: LGPL-2.1-or-later
// The GObject side of the element: a C struct that points to its C++ state.
#pragma once

#include <gst/base/gstpushsrc.h>
#include <gst/gst.h>

G_BEGIN_DECLS

#define FLOWCACHE_TYPE_SRC (gst_flow_cache_src_get_type())
#define FLOWCACHE_IS_SRC(object) (G_TYPE_CHECK_INSTANCE_TYPE((object), FLOWCACHE_TYPE_SRC))
#define FLOWCACHE_SRC(object) (G_TYPE_CHECK_INSTANCE_CAST((object), FLOWCACHE_TYPE_SRC, GstFlowCacheSrc))

typedef struct _GstFlowCacheSrc GstFlowCacheSrc;
typedef struct _GstFlowCacheSrcClass GstFlowCacheSrcClass;

GType gst_flow_cache_src_get_type(void);

G_END_DECLS

namespace flowcache::gst {
struct SourceState;
}

struct _GstFlowCacheSrc {
  GstPushSrc parent;
  flowcache::gst::SourceState* state;  // from init to finalize
};

struct _GstFlowCacheSrcClass {
  GstPushSrcClass parent_class;
};
