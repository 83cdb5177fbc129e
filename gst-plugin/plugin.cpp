// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gst/gst.h>

#include "device_provider.h"
#include "engine_library.h"
#include "flowcachesei.h"
#include "flowcachesrc.h"

// From GStreamer 1.24 on gst-inspect-1.0 shows what hinders a plugin. The engine is looked for, not opened: the scan of
// the registry shall not wait for it.
static void add_status([[maybe_unused]] GstPlugin* plugin) {
#if GST_CHECK_VERSION(1, 24, 0)
  if (!flowcache::gst::EngineLibrary::is_installed())
    gst_plugin_add_status_warning(plugin,
                                  "there is no libflowcache.so.0 beside the plugin or above its folder; "
                                  "install it, or name it in FLOWCACHE_ENGINE");
#endif
}

static gboolean plugin_init(GstPlugin* plugin) {
  add_status(plugin);
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
