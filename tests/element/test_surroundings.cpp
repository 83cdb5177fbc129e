// SPDX-License-Identifier: LGPL-2.1-or-later
// What is around the element: presets, devices, its reference page.
#include <dlfcn.h>
#include <glib/gstdio.h>

#include "element_test.h"

using namespace element_test;

namespace {

TEST(Presets, CanBeLoaded) {
  Source source("");
  GstPreset* preset = GST_PRESET(source.element());
  char** names = gst_preset_get_preset_names(preset);
  ASSERT_NE(names, nullptr);
  for (const char* wanted : {"Fast", "Quality", "Interactive", "Steady"}) {
    EXPECT_TRUE(g_strv_contains(names, wanted)) << wanted;
    EXPECT_TRUE(gst_preset_load_preset(preset, wanted)) << wanted;
  }
  g_strfreev(names);
}

// The values, as text, of every property that any preset sets, after loading these presets.
std::string settings_after(std::initializer_list<const char*> presets) {
  Source source("");
  for (const char* name : presets) EXPECT_TRUE(gst_preset_load_preset(GST_PRESET(source.element()), name));
  std::string all;
  for (const char* name : {"cache", "cache-threshold", "max-chunks-ahead", "blend-chunks"}) {
    GValue value = G_VALUE_INIT;
    g_object_get_property(G_OBJECT(source.element()), name, &value);
    g_autofree char* text = g_strdup_value_contents(&value);
    all += std::string(name) + "=" + text + " ";
    g_value_unset(&value);
  }
  return all;
}

// A preset has the same effect whatever was loaded before, and every preset has another effect.
TEST(Presets, LeaveNothingOfTheOneBefore) {
  const char* names[] = {"Fast", "Quality", "Interactive", "Steady"};
  for (const char* last : names) {
    const std::string alone = settings_after({last});
    for (const char* before : names) {
      EXPECT_EQ(settings_after({before, last}), alone) << before;
      EXPECT_EQ(settings_after({before}) == alone, before == last) << before;
    }
  }
}

// A folder with models, removed with the object.
class ModelFolder {
 public:
  ModelFolder() : path_(g_dir_make_tmp("flowcache-models-XXXXXX", nullptr)) {}
  ~ModelFolder() {
    for (const std::string& name : names_) {
      g_autofree char* folder = g_build_filename(path_, name.c_str(), nullptr);
      g_autofree char* file = g_build_filename(folder, "model.json", nullptr);
      g_remove(file);
      g_rmdir(folder);
    }
    g_rmdir(path_);
    g_free(path_);
  }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;

  std::string add(const std::string& name, const std::string& json) {
    names_.push_back(name);
    g_autofree char* folder = g_build_filename(path_, name.c_str(), nullptr);
    g_autofree char* file = g_build_filename(folder, "model.json", nullptr);
    g_mkdir(folder, 0700);
    EXPECT_TRUE(g_file_set_contents(file, json.c_str(), -1, nullptr));
    return folder;
  }

 private:
  char* path_;
  std::vector<std::string> names_;
};

std::string card(const std::string& name) {
  return "{\"name\":\"" + name +
         "\",\"family\":\"wan-causal\",\"video\":{\"width\":320,\"height\":192,\"framerate\":\"24/1\","
         "\"latent_frames_per_chunk\":3,\"frames_per_chunk\":12,"
         "\"sizes\":{\"least\":[160,96],\"most\":[640,384]}},"
         "\"transformer\":{\"config\":{}},\"decoder\":{\"kind\":\"wan-vae\"}}";
}

// A program that looks for cameras finds models, too. That must not load the engine, and with it LibTorch,
// into the program.
TEST(Devices, OneForEachModelWithoutOpeningTheEngine) {
  ModelFolder models;
  const std::string ships = models.add("ships", card("first"));
  models.add("beside", card("second"));
  models.add("broken", "{\"name\":");
  models.add("damaged", "{\"name\":\"damaged\",\"family\":\"x\",\"video\":{\"width\":-1}}");
  // A copy, because other tests have opened the fake engine itself.
  g_autofree char* engine = g_build_filename(g_get_tmp_dir(), "libflowcache-not-opened.so", nullptr);
  char* data = nullptr;
  gsize size = 0;
  ASSERT_TRUE(g_file_get_contents(g_getenv("FLOWCACHE_ENGINE"), &data, &size, nullptr));
  ASSERT_TRUE(g_file_set_contents(engine, data, static_cast<gssize>(size), nullptr));
  g_free(data);
  const ScopedEnv named("FLOWCACHE_ENGINE", engine), model("FLOWCACHE_MODEL", ships.c_str());
  GstDeviceProvider* provider = gst_device_provider_factory_get_by_name("flowcachedeviceprovider");
  ASSERT_NE(provider, nullptr);
  GList* devices = gst_device_provider_get_devices(provider);
  ASSERT_EQ(g_list_length(devices), 2u);
  for (GList* one = devices; one != nullptr; one = one->next) {
    GstCaps* caps = gst_device_get_caps(GST_DEVICE(one->data));
    const GValue* width = gst_structure_get_value(gst_caps_get_structure(caps, 0), "width");
    ASSERT_TRUE(GST_VALUE_HOLDS_INT_RANGE(width));  // every size that the model draws
    EXPECT_EQ(gst_value_get_int_range_min(width), 160);
    EXPECT_EQ(gst_value_get_int_range_max(width), 640);
    EXPECT_EQ(gst_value_get_int_range_step(width), 16);
    gst_caps_unref(caps);
  }
  g_autofree char* first = gst_device_get_display_name(GST_DEVICE(devices->data));
  EXPECT_STREQ(first, "FlowCache: first");
  EXPECT_EQ(dlopen(engine, RTLD_NOW | RTLD_NOLOAD), nullptr);
  g_list_free_full(devices, gst_object_unref);
  gst_object_unref(provider);
  g_remove(engine);
}

TEST(Devices, NoneWithoutAnEngine) {
  const ScopedEnv named("FLOWCACHE_ENGINE", "/no/such/engine.so");
  GstDeviceProvider* provider = gst_device_provider_factory_get_by_name("flowcachedeviceprovider");
  EXPECT_EQ(gst_device_provider_get_devices(provider), nullptr);
  gst_object_unref(provider);
}

TEST(Devices, MakeAnElement) {
  ModelFolder models;
  const std::string ships = models.add("ships", card("fake"));
  const ScopedEnv model("FLOWCACHE_MODEL", ships.c_str());
  GstDeviceProvider* provider = gst_device_provider_factory_get_by_name("flowcachedeviceprovider");
  ASSERT_NE(provider, nullptr);
  GList* devices = gst_device_provider_get_devices(provider);
  ASSERT_EQ(g_list_length(devices), 1u);
  auto* device = GST_DEVICE(devices->data);
  g_autofree char* name = gst_device_get_display_name(device);
  EXPECT_STREQ(name, "FlowCache: fake");
  EXPECT_TRUE(gst_device_has_classes(device, "Source/Video"));
  GstCaps* caps = gst_device_get_caps(device);
  EXPECT_EQ(gst_caps_get_size(caps), 3u);
  gst_caps_unref(caps);
  GstElement* element = gst_device_create_element(device, nullptr);
  ASSERT_NE(element, nullptr);
  gst_object_ref_sink(element);
  g_autofree char* folder = nullptr;
  g_object_get(element, "model", &folder, nullptr);
  EXPECT_EQ(folder, ships);
  g_object_set(element, "model", nullptr, nullptr);
  EXPECT_TRUE(gst_device_reconfigure_element(device, element));
  g_autofree char* again = nullptr;
  g_object_get(element, "model", &again, nullptr);
  EXPECT_EQ(again, ships);
  GstElement* other = gst_element_factory_make("fakesrc", nullptr);
  EXPECT_FALSE(gst_device_reconfigure_element(device, other));
  gst_object_unref(other);
  gst_object_unref(element);
  g_list_free_full(devices, gst_object_unref);
  gst_object_unref(provider);
}

// REFERENCE.md is what the element prints now.
TEST(Reference, IsUpToDate) {
  char* argv[] = {const_cast<char*>(FLOWCACHE_BUILD_DIR "/gst-plugin/flowcachesrc-reference"), nullptr};
  g_autofree char* now = nullptr;
  g_autofree char* page = nullptr;
  ASSERT_TRUE(g_spawn_sync(nullptr, argv, nullptr, G_SPAWN_DEFAULT, nullptr, nullptr, &now, nullptr, nullptr,
                           nullptr));
  ASSERT_TRUE(g_file_get_contents(FLOWCACHE_SOURCE_DIR "/gst-plugin/REFERENCE.md", &page, nullptr, nullptr));
  EXPECT_STREQ(now, page) << "renew it: see gst-plugin/reference.cpp";
}

// The page names every field of the messages, and no others.
TEST(Reference, NamesTheMessagesFields) {
  g_autofree char* page = nullptr;
  ASSERT_TRUE(g_file_get_contents(FLOWCACHE_SOURCE_DIR "/gst-plugin/REFERENCE.md", &page, nullptr, nullptr));
  Source source("report-chunks=true");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  for (const char* name : {"flowcache-prompt", "flowcache-chunk"}) {
    const MessagePtr message(source.element_message(name));
    ASSERT_TRUE(message);
    const GstStructure* s = gst_message_get_structure(message.get());
    for (gint i = 0; i < gst_structure_n_fields(s); ++i) {
      const std::string field = std::string("`") + gst_structure_nth_field_name(s, i) + "`";
      EXPECT_NE(std::string(page).find(field), std::string::npos) << name << " " << field;
    }
  }
}

}  // namespace
