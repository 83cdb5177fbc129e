// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cuda_kernels.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/modules.h"

namespace flowcache {
namespace {

struct OpenedKernels {
  CudaKernels kernels{};
  std::string problem;
};

std::vector<std::string> places() {
  if (const char* chosen = std::getenv("FLOWCACHE_CUDA_KERNELS"); chosen && *chosen) return {chosen};
  return module_places(FC_CUDA_KERNELS_MODULE, "../kernels");
}

// The name of the first function that the module lacks; null if it has all of them.
const char* find_functions(void* module, CudaKernels& kernels) {
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(module, name));
    if (!function && !missing) missing = name;
  };
  find(kernels.color_convert, "fc_cuda_color_convert");
  find(kernels.color_read, "fc_cuda_color_read");
  find(kernels.norm_modulate, "fc_cuda_norm_modulate");
  find(kernels.gated_add, "fc_cuda_gated_add");
  find(kernels.rms_norm_rope, "fc_cuda_rms_norm_rope");
  find(kernels.move_rows, "fc_cuda_move_rows");
  find(kernels.relative_l1, "fc_cuda_relative_l1");
  return missing;
}

// Why this module cannot be used; "" if it can.
std::string problem_of(void* module, CudaKernels& kernels) {
  const auto version =
      reinterpret_cast<fc_cuda_kernels_version_function>(dlsym(module, "fc_cuda_kernels_version"));
  if (!version) {
    const bool before_versions = dlsym(module, "fc_cuda_color_convert") != nullptr;
    return before_versions ? "is older than its version numbers; this library needs version " +
                                 std::to_string(FC_CUDA_KERNELS_VERSION) + ": take both from one build"
                           : "has no fc_cuda_kernels_version, so it is not this module";
  }
  if (const int has = version(); has != FC_CUDA_KERNELS_VERSION)
    return "is of version " + std::to_string(has) + ", this library needs version " +
           std::to_string(FC_CUDA_KERNELS_VERSION) + ": take both from one build";
  const char* missing = find_functions(module, kernels);
  return missing ? "has no " + std::string(missing) + ": build it again" : "";
}

OpenedKernels open_module() {
  OpenedKernels o;
  for (const std::string& place : places()) {
    std::string reason;
    if (void* module = dlopen(place.c_str(), RTLD_NOW)) {
      reason = problem_of(module, o.kernels);
      if (reason.empty()) return {o.kernels, ""};
      reason = place + " " + reason;
      dlclose(module);
    } else {
      reason = dlerror();  // names the file
    }
    o.problem += (o.problem.empty() ? "" : "; ") + reason;
  }
  return o;
}

const OpenedKernels& opened() {
  static const OpenedKernels once = open_module();
  return once;
}

std::atomic<bool> no_code_for_card{false};

}  // namespace

const CudaKernels& CudaKernels::get() {
  if (!opened().problem.empty())
    throw Error(FC_ERROR_DEVICE,
                "a model on a GPU cannot write planes in CUDA memory without " FC_CUDA_KERNELS_MODULE
                ". Build where nvcc is, or pass FC_MEMORY_HOST planes. Tried: " +
                    opened().problem);
  return opened().kernels;
}

const CudaKernels* CudaKernels::find() {
  if (opened().problem.empty()) return &opened().kernels;
  static std::once_flag said;
  std::call_once(said, [] {
    log(FC_LOG_WARNING,
        "there is no " FC_CUDA_KERNELS_MODULE
        " to use, so LibTorch's operators do its work, with more launches: build where nvcc is. Tried: " +
            opened().problem);
  });
  return nullptr;
}

CudaCall::CudaCall(const at::Tensor& on)
    : device_(on.device()), kernels_(device_.is_cuda() && !no_code_for_card ? CudaKernels::find() : nullptr) {
  if (kernels_) guard_.reset_device(device_);
}

void* CudaCall::stream() const {
  return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).native_handle();
}

bool CudaCall::ran(int error) const {
  if (error == 0) return true;
  // Of cudaError_t: InvalidDeviceFunction, InvalidKernelImage, NoKernelImageForDevice, JitCompilerNotFound,
  // UnsupportedPtxVersion, JitCompilationDisabled.
  constexpr int no_code[] = {98, 200, 209, 221, 222, 223};
  if (std::find(std::begin(no_code), std::end(no_code), error) != std::end(no_code)) {
    if (!no_code_for_card.exchange(true))
      log(FC_LOG_WARNING, FC_CUDA_KERNELS_MODULE " has no code for " + device_.str() + " (CUDA error " +
                              std::to_string(error) +
                              "), so LibTorch's operators do its work, with more launches: build it for this "
                              "card, or update the driver");
    return false;
  }
  throw Error(FC_ERROR_DEVICE, "a kernel of " FC_CUDA_KERNELS_MODULE " cannot run on " + device_.str() +
                                   ": CUDA error " + std::to_string(error) +
                                   "; set FLOWCACHE_CUDA_KERNELS=none to go on without the module");
}

}  // namespace flowcache
