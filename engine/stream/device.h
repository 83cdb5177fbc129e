// SPDX-License-Identifier: LGPL-2.1-or-later
// The device on which the arithmetic runs. It is chosen once, when a model is opened.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "networks/matrix.h"

namespace flowcache {

// "auto" or "": the first NVIDIA GPU if a driver and LibTorch's CUDA libraries can be loaded, else the CPU.
// "cpu", "cuda" and "cuda:N" name a device. Throws FC_ERROR_DEVICE, with the reason, if the named GPU cannot
// be used, and FC_ERROR_ARGUMENT for any other name.
at::Device choose_device(const std::string& name);

// "auto" or "": bf16, or fp32 where bf16_is_emulated(). "fp32" and "bf16" name a precision. "fp8" and "int8"
// compute in bf16 but keep the transformer's matrices in 8 bits. What is multiplied with them is rounded to 8
// bits, too, where the device multiplies such numbers (networks/eight_bits.h). Throws FC_ERROR_ARGUMENT for
// anything else.
Precision choose_precision(const std::string& name, at::Device device);
// True if the device has no instructions for bf16 products, which makes them slower than fp32 products.
bool bf16_is_emulated(at::Device device);
// "fp32", "bf16", "fp8" or "int8".
const char* name_of(Precision precision);

// The reason why no GPU can be used, for people: "no NVIDIA driver: libcuda.so.1: cannot open …"; "" if one
// can be used.
std::string why_no_cuda();

// Sets the calling thread's number of arithmetic threads while this object exists. Afterwards the program's
// own number holds again, because the program may use LibTorch itself. The constructor throws FC_ERROR_MEMORY
// if the system refuses that many threads or the memory that they need.
class ArithmeticThreads {
 public:
  explicit ArithmeticThreads(unsigned threads);
  ~ArithmeticThreads();
  ArithmeticThreads(const ArithmeticThreads&) = delete;
  ArithmeticThreads& operator=(const ArithmeticThreads&) = delete;

 private:
  int before_, mkl_before_;
};

// For arithmetic without ArithmeticThreads. Throws FC_ERROR_MEMORY if the system refuses the thread's own
// number.
void ensure_threads();

// Waits until the device has done all work that the calling thread has given it. Returns at once on the CPU.
// Without it, a measured time covers only the submission of the work.
void wait_for(at::Device device);

// Waits until a GPU has done all work that anybody in the process has given it. Nothing on other devices.
void finish_all(at::Device device) noexcept;

// Bytes that may still be taken: what the host leaves this process, or what the GPU has free and LibTorch keeps unused.
uint64_t free_memory(at::Device device);
// What LibTorch keeps unused on the GPU goes back to it. Nothing on the CPU.
void give_back_memory(at::Device device) noexcept;

// Logs a warning if LibTorch's OpenMP threads spin at barriers. Beside a video encoder this makes chunks
// several times slower. libgomp reads its settings when it is loaded, so only the program can change them,
// before it loads the engine.
void warn_of_spinning_threads(at::Device device);

}  // namespace flowcache
