// SPDX-License-Identifier: LGPL-2.1-or-later
// How other programs find the element: by its URI, and as a device. `gst-device-monitor-1.0 Source/Video`
// lists a device for each installed model.
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine.h"
#include "flowcachesrc.h"
#include "package/card.h"
#include "package/sizes.h"

namespace flowcache::gst {
namespace {

constexpr const char* kProtocol = "flowcache";

// Holds a property's value while it exists.
class Value {
 public:
  explicit Value(const GParamSpec* spec) { g_value_init(&value_, spec->value_type); }
  ~Value() { g_value_unset(&value_); }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  GValue* get() { return &value_; }

 private:
  GValue value_ = G_VALUE_INIT;
};

struct Assignment {
  GParamSpec* spec;
  std::unique_ptr<Value> value;
};

bool is_parameter(const GParamSpec* spec) {
  if ((spec->flags & G_PARAM_WRITABLE) == 0 || g_str_equal(spec->name, "do-timestamp")) return false;
  return spec->owner_type == FLOWCACHE_TYPE_SRC || g_str_equal(spec->name, "num-buffers");
}

std::vector<GParamSpec*> parameters(GObject* object) {
  guint count = 0;
  g_autofree GParamSpec** specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(object), &count);
  std::vector<GParamSpec*> found(specs, specs + count);
  std::erase_if(found, [](const GParamSpec* spec) { return !is_parameter(spec); });
  return found;
}

// Returns false if the text is not a value of this property or is outside its range.
bool parse(const char* text, GParamSpec* spec, GValue* value) {
  if (G_IS_PARAM_SPEC_STRING(spec)) {
    g_value_set_string(value, text);
    return true;
  }
  return gst_value_deserialize(value, text) && !g_param_value_validate(spec, value);
}

// Reads one parameter of a URI. If the element has no property of that name and value, returns null and sets
// `error`.
std::unique_ptr<Value> value_for(GParamSpec* spec, const char* name, const char* text, GError** error) {
  if (spec == nullptr || !is_parameter(spec)) {
    g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_REFERENCE,
                "flowcache: URIs have no parameter \"%s\": parameters are properties of flowcachesrc, and "
                "num-buffers",
                name);
    return nullptr;
  }
  auto value = std::make_unique<Value>(spec);
  if (text != nullptr && parse(text, spec, value->get())) return value;
  g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_REFERENCE,
              "\"%s\" is not a valid %s: see gst-inspect-1.0 flowcachesrc", text == nullptr ? "" : text,
              name);
  return nullptr;
}

bool read_parameters(GObject* object, const GstUri* uri, std::vector<Assignment>* assignments,
                     GError** error) {
  GList* names = gst_uri_get_query_keys(uri);
  bool good = true;
  for (GList* one = names; one != nullptr && good; one = one->next) {
    const auto* name = static_cast<const char*>(one->data);
    GParamSpec* spec = g_object_class_find_property(G_OBJECT_GET_CLASS(object), name);
    auto value = value_for(spec, name, gst_uri_get_query_value(uri, name), error);
    good = value != nullptr;
    if (good) assignments->push_back({spec, std::move(value)});
  }
  g_list_free(names);
  return good;
}

// True if a URI names a host or a path.
bool has_place(const GstUri* uri) {
  GList* path = gst_uri_get_path_segments(uri);
  const bool place = gst_uri_get_host(uri) != nullptr || path != nullptr;
  g_list_free_full(path, g_free);
  return place;
}

gboolean set_uri(GstURIHandler* handler, const char* text, GError** error) {
  GObject* object = G_OBJECT(handler);
  if (GST_STATE(handler) > GST_STATE_READY) {
    g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_STATE, "a URI can be set in NULL and READY only");
    return FALSE;
  }
  GstUri* uri = gst_uri_from_string(text);
  if (uri == nullptr || g_strcmp0(gst_uri_get_scheme(uri), kProtocol) != 0 || has_place(uri)) {
    g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI,
                "\"%s\" is not flowcache:?prompt=TEXT&seed=NUMBER…", text);
    if (uri != nullptr) gst_uri_unref(uri);
    return FALSE;
  }
  std::vector<Assignment> assignments;
  const bool good = read_parameters(object, uri, &assignments, error);
  gst_uri_unref(uri);
  if (!good) return FALSE;
  for (const Assignment& one : assignments) g_object_set_property(object, one.spec->name, one.value->get());
  return TRUE;
}

std::string serialized(GValue* value) {
  if (G_VALUE_HOLDS_STRING(value))
    return g_value_get_string(value) == nullptr ? "" : g_value_get_string(value);
  g_autofree char* text = gst_value_serialize(value);
  return text == nullptr ? "" : text;
}

char* get_uri(GstURIHandler* handler) {
  std::string uri = std::string(kProtocol) + ":";
  char separator = '?';
  for (GParamSpec* spec : parameters(G_OBJECT(handler))) {
    Value value(spec);
    g_object_get_property(G_OBJECT(handler), spec->name, value.get());
    if (g_param_value_defaults(spec, value.get())) continue;
    g_autofree char* escaped = g_uri_escape_string(serialized(value.get()).c_str(), nullptr, FALSE);
    uri += std::exchange(separator, '&') + std::string(spec->name) + "=" + escaped;
  }
  return g_strdup(uri.c_str());
}

GstURIType get_type(GType) {
  return GST_URI_SRC;
}

const char* const* get_protocols(GType) {
  static const char* const protocols[] = {kProtocol, nullptr};
  return protocols;
}

}  // namespace

void install_uri_handler(gpointer interface, gpointer) {
  auto* handler = static_cast<GstURIHandlerInterface*>(interface);
  handler->get_type = get_type;
  handler->get_protocols = get_protocols;
  handler->get_uri = get_uri;
  handler->set_uri = set_uri;
}

}  // namespace flowcache::gst

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

// Sets another model in an existing element, in NULL or READY. Returns false for other elements and in other
// states.
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

// ---- the provider: looks into the folder that contains the model that ships

#define FLOWCACHE_TYPE_DEVICE_PROVIDER (gst_flow_cache_device_provider_get_type())
GType gst_flow_cache_device_provider_get_type(void);

struct GstFlowCacheDeviceProvider {
  GstDeviceProvider parent;
};
struct GstFlowCacheDeviceProviderClass {
  GstDeviceProviderClass parent_class;
};
G_DEFINE_TYPE(GstFlowCacheDeviceProvider, gst_flow_cache_device_provider, GST_TYPE_DEVICE_PROVIDER)
GST_DEVICE_PROVIDER_REGISTER_DEFINE(flowcachedeviceprovider, "flowcachedeviceprovider", GST_RANK_MARGINAL,
                                    FLOWCACHE_TYPE_DEVICE_PROVIDER)

namespace {

// The folder of the model that ships, and the folders beside it that have a model.json. The engine is not
// opened, because programs that only look for cameras call this, too.
std::vector<std::string> model_folders() {
  std::vector<std::string> folders;
  const std::string ships = flowcache::shipped_model(flowcache::gst::EngineLibrary::folder());
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

// The part of a model's description that caps need.
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

// A device for a model that can be described; nullptr for any other.
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
  if (!flowcache::gst::EngineLibrary::is_installed()) {
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
