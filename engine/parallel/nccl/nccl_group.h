// SPDX-License-Identifier: LGPL-2.1-or-later
// c10d's group for NVIDIA GPUs is in LibTorch's CUDA half, which the engine does not link. So it is made in a module of its own,
// libflowcache-nccl.so, which is built where LibTorch has that half and the headers of CUDA and NCCL are there.
#pragma once

#include <cstddef>
#include <cstdint>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

#define FC_NCCL_MODULE "libflowcache-nccl.so"

struct FcNcclFunctions {
  // Makes a group, which the caller owns (c10::intrusive_ptr::reclaim()). Null: failed, with a sentence in `error`.
  c10d::Backend* (*group)(c10d::Store* store, int rank, int ranks, int64_t timeout_ms, char* error,
                          size_t room);
  // Where a CUDA device is plugged in, such as "0000:65:00". Returns 0, or 1.
  int (*slot)(int device, char* text, size_t room);
};

using fc_nccl_function = const FcNcclFunctions* (*)();
