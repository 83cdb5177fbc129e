// SPDX-License-Identifier: LGPL-2.1-or-later
// The environment that the tests need, whoever starts them: the plugin of this build only, a registry of
// their own, and the fake engine.
#include <gst/gst.h>
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  g_setenv("GST_PLUGIN_PATH", FLOWCACHE_BUILD_DIR "/gst-plugin", TRUE);
  // One for each program: what plugins register depends on the driver that they see.
  g_autofree char* program = g_path_get_basename(argv[0]);
  g_autofree char* registry =
      g_strconcat(FLOWCACHE_BUILD_DIR "/tests/element/", program, ".registry", nullptr);
  g_setenv("GST_REGISTRY", registry, TRUE);
  g_setenv("GST_REGISTRY_FORK", "no", TRUE);
  g_setenv("FLOWCACHE_ENGINE", FLOWCACHE_BUILD_DIR "/tests/fake/libflowcache-fake.so", TRUE);
  g_setenv("GST_PRESET_PATH", FLOWCACHE_SOURCE_DIR "/gst-plugin/presets", TRUE);
  // OpenGL without a screen, unless somebody knows better.
  g_setenv("GST_GL_WINDOW", "egl-device", FALSE);
  g_setenv("GST_GL_PLATFORM", "egl", FALSE);
  testing::InitGoogleTest(&argc, argv);
  gst_init(&argc, &argv);
  g_log_set_always_fatal(static_cast<GLogLevelFlags>(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL));
  return RUN_ALL_TESTS();
}
