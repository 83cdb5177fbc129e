// SPDX-License-Identifier: LGPL-2.1-or-later
// Why LibTorch finds no NVIDIA GPU on a machine that has a driver: the cause and its remedy, in a sentence.
#pragma once

#include <optional>
#include <string>

namespace flowcache {

struct CudaFacts {
  int runtime = 0;                     // CUDA version of LibTorch's own runtime, as 13000; 0: not known
  int driver = 0;                      // newest CUDA version that the driver runs, as 12020; 0: not known
  int init = 0;                        // what cuInit() answered; 0: no error
  std::string driver_release;          // "535.183.01"; "": not known
  std::optional<std::string> visible;  // CUDA_VISIBLE_DEVICES
  std::string devices = "/dev";        // folder of the device files
};

// Asks the libraries that are loaded and the kernel module. What does not answer stays at its default.
CudaFacts cuda_facts();

// The reason if the driver is too old for LibTorch's runtime, else "". By CUDA's minor version compatibility a driver runs
// every version of its own major version and of older ones.
std::string driver_too_old(const CudaFacts& facts);

// The reason why a driver that is new enough shows no device.
std::string why_no_device(const CudaFacts& facts);

}  // namespace flowcache
