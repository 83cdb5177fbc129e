// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/cards.h"

#include <dlfcn.h>

#include <fstream>

#include "base/modules.h"

namespace flowcache {
namespace {

struct OpenedNccl {
  const FcNcclFunctions* functions = nullptr;
  std::string problem;
};

const OpenedNccl& opened_nccl() {
  static const OpenedNccl opened = [] {
    OpenedNccl result;
    for (const std::string& place : module_places(FC_NCCL_MODULE, "parallel/nccl")) {
      void* const module = dlopen(place.c_str(), RTLD_NOW);
      const auto functions = module ? reinterpret_cast<fc_nccl_function>(dlsym(module, "fc_nccl")) : nullptr;
      if (functions) return OpenedNccl{functions(), ""};
      result.problem += (result.problem.empty() ? "" : "; ") +
                        (module ? place + ": has no fc_nccl" : std::string(dlerror()));
    }
    return result;
  }();
  return opened;
}

// Of this machine since it was started.
std::string machine() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  std::getline(file, text);
  return text;
}

}  // namespace

const FcNcclFunctions* nccl_functions(std::string* problem) {
  if (problem) *problem = opened_nccl().problem;
  return opened_nccl().functions;
}

std::string card_of(at::Device device) {
  if (!device.is_cuda()) return "";
  const FcNcclFunctions* const functions = nccl_functions();
  char slot[64];
  if (!functions || functions->slot(device.has_index() ? device.index() : 0, slot, sizeof slot) != 0)
    return "";
  return machine() + " " + slot;
}

}  // namespace flowcache
