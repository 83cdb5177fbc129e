// SPDX-License-Identifier: LGPL-2.1-or-later
// The environment that the tests need, whoever starts them and however many run at the same time: only the
// plugin of this build, the fake engine, and folders of their own for the registry and for temporary files.
#include <gst/gst.h>
#include <gtest/gtest.h>

#include "../unit/temp_folder.h"

int main(int argc, char** argv) {
  g_setenv("GST_PLUGIN_PATH", FLOWCACHE_BUILD_DIR "/gst-plugin", TRUE);
  const flowcache::test::TempFolder folder;
  g_setenv("TMPDIR", folder.path.c_str(), TRUE);
  g_setenv("GST_REGISTRY", (folder.path / "registry").c_str(), TRUE);
  g_setenv("GST_REGISTRY_FORK", "no", TRUE);
  g_setenv("FLOWCACHE_ENGINE", FLOWCACHE_BUILD_DIR "/tests/fake/libflowcache-fake.so", TRUE);
  g_setenv("GST_PRESET_PATH", FLOWCACHE_SOURCE_DIR "/gst-plugin/presets", TRUE);
  // OpenGL without a screen, unless the variable is already set.
  g_setenv("GST_GL_WINDOW", "egl-device", FALSE);
  g_setenv("GST_GL_PLATFORM", "egl", FALSE);
  testing::InitGoogleTest(&argc, argv);
  gst_init(&argc, &argv);
  g_log_set_always_fatal(static_cast<GLogLevelFlags>(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL));
  return RUN_ALL_TESTS();
}
