// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_pool.h"

#include <gst/video/video.h>

namespace flowcache::gst {

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

}  // namespace flowcache::gst
