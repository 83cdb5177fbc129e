// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/nccl/nccl_group.h"

#include <cstdio>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

// wait() is to throw after the timeout and leave the process alone: the engine says what follows. By itself the class would end
// it, from a thread that watches. It reads these variables when a group is made.
static void leave_the_process_alone() {
  setenv("TORCH_NCCL_BLOCKING_WAIT", "1", 0);
  setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", 0);
  setenv("TORCH_NCCL_ENABLE_MONITORING", "0", 0);
}

extern "C" __attribute__((visibility("default"))) c10d::Backend* fc_nccl_group(c10d::Store* store, int rank,
                                                                               int ranks, int64_t timeout_ms,
                                                                               char* error, size_t room) {
  try {
    leave_the_process_alone();
    const auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::intrusive_ptr<c10d::Store>::unsafe_reclaim_from_nonowning(store), rank, ranks, options);
    return group.release();
  } catch (const std::exception& failure) {
    std::snprintf(error, room, "%s", failure.what());
    return nullptr;
  }
}
