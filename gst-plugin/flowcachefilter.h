// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter: repaints the video that flows through it. It has the settings, the worker and the messages of
// flowcachesrc; time is the input's.
//
//   chain()      the input's thread: collects the frames of a chunk and feeds the engine, which encodes them
//   FrameWorker  makes the chunks
//   loop()       the task of the source pad: gives each frame that comes out the time of the one that went in
#pragma once

#include <gst/gst.h>
#include <gst/video/video.h>

namespace flowcache::gst {
struct SourceState;
struct FilterState;
}  // namespace flowcache::gst

G_BEGIN_DECLS

#define FLOWCACHE_TYPE_FILTER (gst_flow_cache_filter_get_type())
#define FLOWCACHE_IS_FILTER(object) (G_TYPE_CHECK_INSTANCE_TYPE((object), FLOWCACHE_TYPE_FILTER))
#define FLOWCACHE_FILTER(object) \
  (G_TYPE_CHECK_INSTANCE_CAST((object), FLOWCACHE_TYPE_FILTER, GstFlowCacheFilter))

typedef struct _GstFlowCacheFilter GstFlowCacheFilter;
typedef struct _GstFlowCacheFilterClass GstFlowCacheFilterClass;

GType gst_flow_cache_filter_get_type(void);

G_END_DECLS

struct _GstFlowCacheFilter {
  GstElement parent;
  GstPad *sink, *src;                  // owned by the element
  flowcache::gst::SourceState* state;  // these two from init to finalize
  flowcache::gst::FilterState* filter;
};

struct _GstFlowCacheFilterClass {
  GstElementClass parent_class;
};
