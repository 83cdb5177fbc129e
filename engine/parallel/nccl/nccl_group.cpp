// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/nccl/nccl_group.h"

#include <cstdio>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

namespace {

// The engine says what follows when a rank is lost. By itself the class would end the process, from a thread that watches. It reads
// these variables when a group is made.
void leave_the_process_alone() {
  setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", 0);
  setenv("TORCH_NCCL_ENABLE_MONITORING", "0", 0);
}

c10d::Backend* group(c10d::Store* store, int rank, int ranks, int64_t timeout_ms, char* error, size_t room) {
  try {
    leave_the_process_alone();
    const auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(
               c10::intrusive_ptr<c10d::Store>::unsafe_reclaim_from_nonowning(store), rank, ranks, options)
        .release();
  } catch (const std::exception& failure) {
    std::snprintf(error, room, "%s", failure.what());
    return nullptr;
  }
}

int slot(int device, char* text, size_t room) {
  try {
    const cudaDeviceProp& one = *at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(device));
    std::snprintf(text, room, "%04x:%02x:%02x", one.pciDomainID, one.pciBusID, one.pciDeviceID);
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const FcNcclFunctions* fc_nccl() {
  static const FcNcclFunctions functions = {group, slot};
  return &functions;
}
