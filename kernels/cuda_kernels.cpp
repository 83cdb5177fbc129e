// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cuda_kernels.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"

namespace flowcache {
namespace {

struct OpenedKernels {
  CudaKernels kernels{};
  std::string problem;
};

std::vector<std::string> places() {
  if (const char* chosen = std::getenv("FLOWCACHE_CUDA_KERNELS"); chosen && *chosen) return {chosen};
  const std::string file = FC_CUDA_KERNELS_MODULE;
  Dl_info info{};
  if (!dladdr(reinterpret_cast<void*>(&places), &info) || !info.dli_fname) return {file};
  const std::string self = info.dli_fname;
  const auto slash = self.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : self.substr(0, slash);
  return {folder + "/" + file, folder + "/../kernels/" + file, file};
}

OpenedKernels open_module() {
  OpenedKernels o;
  for (const std::string& place : places()) {
    std::string reason;
    if (void* module = dlopen(place.c_str(), RTLD_NOW)) {
      o.kernels.color_convert =
          reinterpret_cast<fc_cuda_color_convert_function>(dlsym(module, "fc_cuda_color_convert"));
      if (o.kernels.color_convert) return {o.kernels, ""};
      reason = place + ": has no fc_cuda_color_convert, so it is not this module";
      dlclose(module);
    } else {
      reason = dlerror();  // names the file
    }
    o.problem += (o.problem.empty() ? "" : "; ") + reason;
  }
  return o;
}

}  // namespace

const CudaKernels& CudaKernels::get() {
  static const OpenedKernels opened = open_module();
  if (!opened.problem.empty())
    throw Error(FC_ERROR_DEVICE,
                "a model on a GPU cannot write planes in CUDA memory without " FC_CUDA_KERNELS_MODULE
                ". Build where nvcc is, or pass FC_MEMORY_HOST planes. Tried: " +
                    opened.problem);
  return opened.kernels;
}

}  // namespace flowcache
