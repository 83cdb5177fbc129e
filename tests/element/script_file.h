// SPDX-License-Identifier: LGPL-2.1-or-later
// A file for `script-location`.
#pragma once

#include <glib/gstdio.h>
#include <gtest/gtest.h>

#include <string>

namespace element_test {

// A file with this content, removed with the object.
class ScriptFile {
 public:
  explicit ScriptFile(const std::string& content) {
    const int handle = g_file_open_tmp("flowcache-script-XXXXXX", &path_, nullptr);
    EXPECT_GE(handle, 0);
    g_close(handle, nullptr);
    EXPECT_TRUE(g_file_set_contents(path_, content.data(), static_cast<gssize>(content.size()), nullptr));
  }
  ~ScriptFile() {
    g_remove(path_);
    g_free(path_);
  }
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  const char* path() const { return path_; }

 private:
  char* path_ = nullptr;
};

}  // namespace element_test
