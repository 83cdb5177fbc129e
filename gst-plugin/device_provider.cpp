// SPDX-License-Identifier: LGPL-2.1-or-later
#include "device_provider.h"

#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine_library.h"
#include "log.h"
#include "package/card.h"
#include "package/sizes.h"
#include "source_state.h"

using flowcache::gst::EngineLibrary;

// ---- a device: one model

#define FLOWCACHE_TYPE_DEVICE (gst_flow_cache_device_get_type())
#define FLOWCACHE_DEVICE(object) \
  (G_TYPE_CHECK_INSTANCE_CAST((object), FLOWCACHE_TYPE_DEVICE, GstFlowCacheDevice))

struct GstFlowCacheDevice {
  GstDevice parent;
  char* model;  // folder; owned
};
struct GstFlowCacheDeviceClass {
  GstDeviceClass parent_class;
};
GType gst_flow_cache_device_get_type(void);
G_DEFINE_TYPE(GstFlowCacheDevice, gst_flow_cache_device, GST_TYPE_DEVICE)

static GstElement* device_create_element(GstDevice* device, const gchar* name) {
  GstElement* element = gst_element_factory_make("flowcachesrc", name);
  if (element != nullptr) g_object_set(element, "model", FLOWCACHE_DEVICE(device)->model, nullptr);
  return element;
}

/// Another model in an element that is there, in NULL or READY. False for other elements, and while it plays.
static gboolean device_reconfigure_element(GstDevice* device, GstElement* element) {
  if (!FLOWCACHE_IS_SRC(element) || GST_STATE(element) > GST_STATE_READY) return FALSE;
  g_object_set(element, "model", FLOWCACHE_DEVICE(device)->model, nullptr);
  return TRUE;
}

static void device_finalize(GObject* object) {
  g_free(FLOWCACHE_DEVICE(object)->model);
  G_OBJECT_CLASS(gst_flow_cache_device_parent_class)->finalize(object);
}

static void gst_flow_cache_device_class_init(GstFlowCacheDeviceClass* klass) {
  GST_DEVICE_CLASS(klass)->create_element = device_create_element;
  GST_DEVICE_CLASS(klass)->reconfigure_element = device_reconfigure_element;
  G_OBJECT_CLASS(klass)->finalize = device_finalize;
}

static void gst_flow_cache_device_init(GstFlowCacheDevice*) {}

// ---- the provider: looks at the folder that holds the model that ships

struct GstFlowCacheDeviceProvider {
  GstDeviceProvider parent;
};
struct GstFlowCacheDeviceProviderClass {
  GstDeviceProviderClass parent_class;
};
G_DEFINE_TYPE(GstFlowCacheDeviceProvider, gst_flow_cache_device_provider, GST_TYPE_DEVICE_PROVIDER)

namespace {

/// The model that ships, and its neighbours that have a model.json. Programs that look for cameras come here
/// too: the engine is not opened.
std::vector<std::string> model_folders() {
  std::vector<std::string> folders;
  const std::string ships = flowcache::shipped_model(EngineLibrary::folder());
  if (ships.empty()) return folders;
  folders.push_back(ships);
  g_autofree char* parent = g_path_get_dirname(ships.c_str());
  GDir* dir = g_path_is_absolute(ships.c_str()) ? g_dir_open(parent, 0, nullptr) : nullptr;
  if (dir == nullptr) return folders;
  while (const char* name = g_dir_read_name(dir)) {
    g_autofree char* folder = g_build_filename(parent, name, nullptr);
    g_autofree char* description = g_build_filename(folder, "model.json", nullptr);
    if (g_file_test(description, G_FILE_TEST_IS_REGULAR) && folders.front() != folder)
      folders.emplace_back(folder);
  }
  g_dir_close(dir);
  return folders;
}

fc_picture_size size_of(const flowcache::Pixels& pixels) {
  return {static_cast<uint32_t>(pixels.width), static_cast<uint32_t>(pixels.height)};
}

/// As much of a description as caps need.
fc_model_info picture_of(const flowcache::ModelCard& card, const flowcache::PictureSizes& sizes) {
  fc_model_info model{};
  model.size = sizeof model;
  model.width = static_cast<uint32_t>(card.width);
  model.height = static_cast<uint32_t>(card.height);
  model.fps_n = static_cast<uint32_t>(card.fps_n);
  model.fps_d = static_cast<uint32_t>(card.fps_d);
  model.least = size_of(sizes.least);
  model.most = size_of(sizes.most);
  model.step = size_of(sizes.step);
  return model;
}

/// A device for a model that can be described; nullptr for others.
GstDevice* make_device(const std::string& folder) {
  flowcache::ModelCard card;
  flowcache::PictureSizes sizes;
  try {
    const std::string file = std::filesystem::path(folder) / "model.json";
    const nlohmann::json document = flowcache::read_model_json(file);
    const flowcache::Fields root(document, file, "");
    card = flowcache::read_card(root);
    sizes = flowcache::read_sizes(root, {card.width, card.height});
  } catch (const flowcache::Error& error) {
    GST_WARNING("no device for %s: %s", folder.c_str(), error.what());
    return nullptr;
  }
  GstCaps* caps = flowcache::gst::caps_of(picture_of(card, sizes));
  GstStructure* properties =
      gst_structure_new("flowcache-model", "device.api", G_TYPE_STRING, "flowcache", "flowcache.model",
                        G_TYPE_STRING, folder.c_str(), "flowcache.family", G_TYPE_STRING, card.family.c_str(),
                        "flowcache.description", G_TYPE_STRING, card.description.c_str(), nullptr);
  g_autofree char* name = g_strdup_printf("FlowCache: %s", card.name.c_str());
  auto* device = static_cast<GstDevice*>(g_object_new(FLOWCACHE_TYPE_DEVICE, "display-name", name, "caps",
                                                      caps, "device-class", "Source/Video", "properties",
                                                      properties, nullptr));
  FLOWCACHE_DEVICE(device)->model = g_strdup(folder.c_str());
  gst_caps_unref(caps);
  gst_structure_free(properties);
  return device;
}

GList* find_devices() {
  if (!EngineLibrary::is_installed()) {
    GST_INFO("no devices, as there is no engine beside the plugin, above its folder or in FLOWCACHE_ENGINE");
    return nullptr;
  }
  GList* devices = nullptr;
  for (const std::string& folder : model_folders()) {
    if (GstDevice* device = make_device(folder))
      devices = g_list_append(devices, gst_object_ref_sink(device));
  }
  return devices;
}

GList* provider_probe(GstDeviceProvider*) {
  try {
    return find_devices();
  } catch (const std::exception& defect) {
    GST_ERROR("looking for models failed: %s", defect.what());
  } catch (...) {
    GST_ERROR("looking for models failed");
  }
  return nullptr;
}

}  // namespace

static void gst_flow_cache_device_provider_class_init(GstFlowCacheDeviceProviderClass* klass) {
  flowcache::gst::init_log();
  GST_DEVICE_PROVIDER_CLASS(klass)->probe = provider_probe;
  gst_device_provider_class_set_static_metadata(
      GST_DEVICE_PROVIDER_CLASS(klass), "FlowCache models", "Source/Video",
      "Lists the text-to-video models that flowcachesrc can play", "The gst-flowcache project");
}

static void gst_flow_cache_device_provider_init(GstFlowCacheDeviceProvider*) {}
