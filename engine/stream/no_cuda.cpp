// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/no_cuda.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

namespace flowcache {

namespace {

namespace fs = std::filesystem;

// Values of CUresult.
constexpr int stub_library = 34, system_not_ready = 802, driver_mismatch = 803;

int version_from(const char* function) {
  const auto ask = reinterpret_cast<int (*)(int*)>(dlsym(RTLD_DEFAULT, function));
  int version = 0;
  return ask && ask(&version) == 0 ? version : 0;
}

// "12.2" of 12020.
std::string dotted(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The first series of drivers that runs a major version of CUDA.
std::string first_driver(int major) {
  switch (major) {
    case 11:
      return " (driver R450 or newer)";
    case 12:
      return " (driver R525 or newer)";
    case 13:
      return " (driver R580 or newer)";
    default:
      return "";
  }
}

// The first file of NVIDIA's devices that this process may not open, or "".
std::string forbidden_file(const std::string& devices) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(devices, ignored)) {
    const std::string name = entry.path().filename().string();
    static const std::regex ours("nvidia(ctl|-uvm|[0-9]+)");
    if (std::regex_match(name, ours) && access(entry.path().c_str(), R_OK | W_OK) != 0 && errno == EACCES)
      return entry.path().string();
  }
  return "";
}

}  // namespace

CudaFacts cuda_facts() {
  CudaFacts facts;
  facts.runtime = version_from("cudaRuntimeGetVersion");
  facts.driver = version_from("cuDriverGetVersion");
  if (const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(RTLD_DEFAULT, "cuInit")))
    facts.init = init(0);
  std::ifstream module("/proc/driver/nvidia/version");
  const std::string text((std::istreambuf_iterator<char>(module)), {});
  if (std::smatch found; std::regex_search(text, found, std::regex(" ([0-9]+\\.[0-9.]+) ")))
    facts.driver_release = found[1];
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) facts.visible = visible;
  return facts;
}

std::string driver_too_old(const CudaFacts& facts) {
  const int needed = facts.runtime / 1000;
  if (facts.driver == 0 || facts.driver / 1000 >= needed) return "";
  const std::string release = facts.driver_release.empty() ? "" : " " + facts.driver_release;
  return "the NVIDIA driver" + release + " is too old: it runs CUDA " + dotted(facts.driver) +
         " at most, and this LibTorch needs CUDA " + dotted(facts.runtime) + first_driver(needed) +
         ": renew the driver (for Debian from NVIDIA's repository: cuda-drivers), or install a LibTorch of "
         "CUDA " +
         std::to_string(facts.driver / 1000) + " (FLOWCACHE_TORCH_INDEX in tools/setup.sh)";
}

std::string why_no_device(const CudaFacts& facts) {
  if (facts.init == stub_library)
    return "the libcuda.so.1 that was found is the CUDA toolkit's stub, not the driver's: take the stubs' "
           "folder "
           "out of LD_LIBRARY_PATH";
  if (facts.init == driver_mismatch)
    return "the NVIDIA driver's library and its kernel module are of different versions, as after an update: "
           "restart the machine";
  if (facts.init == system_not_ready)
    return "the NVIDIA driver is not ready: start nvidia-fabricmanager, which GPUs with NVSwitch need";
  if (facts.visible)
    return "CUDA_VISIBLE_DEVICES=\"" + *facts.visible +
           "\" leaves no device visible: unset it, or name a GPU that nvidia-smi -L lists";
  std::error_code ignored;
  const std::string control = facts.devices + "/nvidiactl";
  if (!fs::exists(control, ignored) && !fs::exists(facts.devices + "/dxg", ignored))  // dxg: under Windows
    return "the NVIDIA driver reports no device and there is no " + control +
           ": load the kernel module (modprobe nvidia), or start the container with its GPU (--gpus all)";
  if (const std::string file = forbidden_file(facts.devices); !file.empty())
    return "there is no permission to open " + file + ": add this user to the group that owns it (ls -l " +
           file + ")";
  return "the NVIDIA driver reports no device" +
         (facts.init ? " (cuInit: error " + std::to_string(facts.init) + ")" : "") +
         ": see whether nvidia-smi lists one";
}

}  // namespace flowcache
