// SPDX-License-Identifier: LGPL-2.1-or-later
// Each cause that LibTorch finds no GPU is named as itself, with what to do.
#include "stream/no_cuda.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace {

using flowcache::CudaFacts;
using flowcache::driver_too_old;
using flowcache::why_no_device;
namespace fs = std::filesystem;

// A folder with device files that are none.
class Devices {
 public:
  explicit Devices(std::initializer_list<const char*> names) {
    char name[] = "/tmp/flowcache-devices-XXXXXX";
    folder_ = mkdtemp(name);
    fs::permissions(folder_, fs::perms::all);
    for (const char* one : names) {
      std::ofstream(folder_ / one) << "";
      fs::permissions(folder_ / one, fs::perms::all);
    }
  }
  ~Devices() { fs::remove_all(folder_); }
  std::string folder() const { return folder_.string(); }
  void forbid(const char* name) const { fs::permissions(folder_ / name, fs::perms::none); }

 private:
  fs::path folder_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(NoCuda, TheDriverThatIsNeededFollowsLibTorchsRuntime) {
  const CudaFacts debian{.runtime = 13000, .driver = 12020, .driver_release = "535.183.01"};
  const std::string reason = driver_too_old(debian);
  EXPECT_TRUE(has(reason, "driver 535.183.01 is too old: it runs CUDA 12.2 at most")) << reason;
  EXPECT_TRUE(has(reason, "needs CUDA 13.0 (driver R580 or newer)")) << reason;
  EXPECT_TRUE(has(reason, "a LibTorch of CUDA 12")) << reason;
  EXPECT_EQ(driver_too_old({.runtime = 12060, .driver = 12020}), "") << "minor version compatibility";
  EXPECT_EQ(driver_too_old({.runtime = 12060, .driver = 13000}), "");
  EXPECT_EQ(driver_too_old({.runtime = 13020, .driver = 13000}), "");
  EXPECT_TRUE(has(driver_too_old({.runtime = 12060, .driver = 11080}), "CUDA 12.6 (driver R525 or newer)"));
  EXPECT_TRUE(has(driver_too_old({.runtime = 14000, .driver = 13000}), "needs CUDA 14.0: renew"));
  EXPECT_EQ(driver_too_old({.driver = 12020}), "") << "LibTorch's version is not known";
  EXPECT_EQ(driver_too_old({.runtime = 13000}), "") << "the driver's version is not known";
}

TEST(NoCuda, NoDeviceHasACauseAndARemedy) {
  const Devices none({}), one({"nvidiactl", "nvidia0"}), windows({"dxg"});
  EXPECT_TRUE(has(why_no_device({.init = 803, .devices = one.folder()}), "restart the machine"));
  EXPECT_TRUE(has(why_no_device({.init = 802, .devices = one.folder()}), "nvidia-fabricmanager"));
  EXPECT_TRUE(has(why_no_device({.init = 34, .devices = one.folder()}), "stub"));
  EXPECT_TRUE(has(why_no_device({.init = 100, .visible = "", .devices = one.folder()}),
                  "CUDA_VISIBLE_DEVICES=\"\" leaves no device visible"));
  EXPECT_TRUE(has(why_no_device({.init = 100, .visible = "7", .devices = none.folder()}), "\"7\""));
  EXPECT_TRUE(has(why_no_device({.init = 100, .devices = none.folder()}), "modprobe nvidia"));
  EXPECT_TRUE(has(why_no_device({.init = 100, .devices = windows.folder()}), "error 100"));
  EXPECT_TRUE(has(why_no_device({.init = 999, .devices = one.folder()}), "error 999"));
}

// As somebody who is not root: for root nothing is forbidden.
TEST(NoCuda, APermissionThatIsMissingIsNamed) {
  const Devices devices({"nvidiactl", "nvidia0", "nvidia-caps"});
  devices.forbid("nvidia-caps");
  const auto ask_as_nobody = [&] {
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(2);
    std::fputs(why_no_device({.init = 100, .devices = devices.folder()}).c_str(), stderr);
    _exit(0);
  };
  EXPECT_EXIT(ask_as_nobody(), testing::ExitedWithCode(0), "error 100") << "nvidia-caps is not needed";
  devices.forbid("nvidia0");
  EXPECT_EXIT(ask_as_nobody(), testing::ExitedWithCode(0), "no permission to open .*/nvidia0: add this user");
}

}  // namespace
