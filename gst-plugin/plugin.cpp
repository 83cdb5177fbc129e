// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gst/gst.h>

#include <string>
#include <vector>

#include "engine.h"

GST_ELEMENT_REGISTER_DECLARE(flowcachesrc)
GST_ELEMENT_REGISTER_DECLARE(flowcachefilter)
GST_ELEMENT_REGISTER_DECLARE(flowcachesei)
GST_DEVICE_PROVIDER_REGISTER_DECLARE(flowcachedeviceprovider)

// From GStreamer 1.24 on, gst-inspect-1.0 shows why a plugin cannot work. The engine is only looked for and
// not opened, so that the scan of the registry does not wait for it.
static void add_status([[maybe_unused]] GstPlugin* plugin) {
#if GST_CHECK_VERSION(1, 24, 0)
  if (!flowcache::gst::EngineLibrary::is_installed())
    gst_plugin_add_status_warning(plugin,
                                  "there is no libflowcache.so.0 beside the plugin or above its folder; "
                                  "install it, or name it in FLOWCACHE_ENGINE");
#endif
}

// The registry entry depends on where the engine is, so GStreamer scans again when the engine is installed or
// removed.
static void depend_on_engine(GstPlugin* plugin) {
  std::vector<std::string> folders;
  for (const std::string& place : flowcache::gst::EngineLibrary::places()) {
    g_autofree char* folder = g_path_get_dirname(place.c_str());
    folders.emplace_back(folder);
  }
  std::vector<const char*> paths;
  for (const std::string& folder : folders) paths.push_back(folder.c_str());
  paths.push_back(nullptr);
  const char* variables[] = {"FLOWCACHE_ENGINE", nullptr};
  const char* names[] = {"libflowcache.so", nullptr};
  gst_plugin_add_dependency(plugin, variables, paths.data(), names,
                            GST_PLUGIN_DEPENDENCY_FLAG_FILE_NAME_IS_PREFIX);
}

static gboolean plugin_init(GstPlugin* plugin) {
  depend_on_engine(plugin);
  add_status(plugin);
  return GST_ELEMENT_REGISTER(flowcachesrc, plugin) && GST_ELEMENT_REGISTER(flowcachefilter, plugin) &&
         GST_ELEMENT_REGISTER(flowcachesei, plugin) &&
         GST_DEVICE_PROVIDER_REGISTER(flowcachedeviceprovider, plugin);
}

#define PACKAGE "gst-flowcache"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, flowcache,
                  "Live video generated from text prompts (FlowCache, arXiv 2602.10825)", plugin_init,
                  FLOWCACHE_VERSION, "LGPL", "gst-flowcache",
                  "https://github.com/gst-flowcache/gst-flowcache")
