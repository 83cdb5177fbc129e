// SPDX-License-Identifier: LGPL-2.1-or-later
// What surrounds the element: presets, devices, its reference page.
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
  EXPECT_TRUE(gst_preset_load_preset(preset, "Fast"));
  g_autofree char* cache = nullptr;
  g_object_get(source.element(), "cache", &cache, nullptr);
  EXPECT_STREQ(cache, "auto:ceiling=4");
}

TEST(Devices, OneForEachModelAndItMakesAnElement) {
  GstDeviceProvider* provider = gst_device_provider_factory_get_by_name("flowcachedeviceprovider");
  ASSERT_NE(provider, nullptr);
  GList* devices = gst_device_provider_get_devices(provider);
  ASSERT_EQ(g_list_length(devices), 1u);  // the fake engine has one model
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
  g_autofree char* model = nullptr;
  g_object_get(element, "model", &model, nullptr);
  EXPECT_STREQ(model, "fake");
  gst_object_unref(element);
  g_list_free_full(devices, gst_object_unref);
  gst_object_unref(provider);
}

/// REFERENCE.md is what the element says now.
TEST(Reference, IsUpToDate) {
  char* argv[] = {const_cast<char*>(FLOWCACHE_BUILD_DIR "/gst-plugin/flowcachesrc-reference"), nullptr};
  g_autofree char* now = nullptr;
  g_autofree char* page = nullptr;
  ASSERT_TRUE(g_spawn_sync(nullptr, argv, nullptr, G_SPAWN_DEFAULT, nullptr, nullptr, &now, nullptr, nullptr,
                           nullptr));
  ASSERT_TRUE(g_file_get_contents(FLOWCACHE_SOURCE_DIR "/gst-plugin/REFERENCE.md", &page, nullptr, nullptr));
  EXPECT_STREQ(now, page) << "renew it: see gst-plugin/reference.cpp";
}

/// No field of a message is missing on the page, and none is there that does not exist.
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
