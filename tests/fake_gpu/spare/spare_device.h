// SPDX-License-Identifier: LGPL-2.1-or-later
// A GPU that is not there: LibTorch's spare backend, PrivateUse1, as "spare:0". It computes with the CPU's
// operators, so every number is real, but what it keeps is out of the host's reach, and its operators take no
// tensors of the CPU.
//
// A tensor's address lies in a range that nobody may read or write; its bytes lie elsewhere, and only
// operators know where. So a host pointer into it ends the process, with a sentence on stderr, whatever the
// processor or the kernel. Fresh memory holds NaN.
//
// Not shown: CUDA's own kernels, what runs beside the host, a device that is full.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace spare {

inline const c10::Device device{c10::DeviceType::PrivateUse1, 0};

// Of the whole process.
struct Counts {
  int64_t calls = 0;      // operators
  int64_t to_device = 0;  // copies from the host
  int64_t to_host = 0;    // copies to it
  int64_t items = 0;      // single numbers that the host asked for: item() and what calls it
  int64_t waits = 0;      // for all that was given to the device
};
Counts counts();
Counts operator-(const Counts& after, const Counts& before);

// Before the first tensor of the device, once a process. Returns why there can be none, or "".
std::string install();

}  // namespace spare
