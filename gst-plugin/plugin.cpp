// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gst/gst.h>

#include "device_provider.h"
#include "flowcachesei.h"
#include "flowcachesrc.h"

static gboolean plugin_init(GstPlugin* plugin) {
  return gst_element_register(plugin, "flowcachesrc", GST_RANK_NONE, FLOWCACHE_TYPE_SRC) &&
         gst_element_register(plugin, "flowcachesei", GST_RANK_NONE, FLOWCACHE_TYPE_SEI) &&
         gst_device_provider_register(plugin, "flowcachedeviceprovider", GST_RANK_MARGINAL,
                                      FLOWCACHE_TYPE_DEVICE_PROVIDER);
}

#define PACKAGE "gst-flowcache"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, flowcache,
                  "Live video generated from text prompts (FlowCache, arXiv 2602.10825)", plugin_init,
                  FLOWCACHE_VERSION, "LGPL", "gst-flowcache",
                  "https://github.com/gst-flowcache/gst-flowcache")
