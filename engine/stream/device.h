// SPDX-License-Identifier: LGPL-2.1-or-later
// Where the arithmetic runs, decided once when a model is opened.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "networks/matrix.h"

namespace flowcache {

// "auto" or "": the first NVIDIA GPU if a driver and LibTorch's CUDA libraries answer, else the CPU. "cpu",
// "cuda", "cuda:N" are taken at their word: FC_ERROR_DEVICE says why a GPU that was asked for cannot be had.
at::Device choose_device(const std::string& name);

// "auto" or "": bf16 where bf16_is_emulated() denies, else fp32. "fp32", "bf16"; "fp8": computes in bf16 with
// the transformer's matrices kept in 8 bits, for what does not fit otherwise. FC_ERROR_ARGUMENT for anything
// else.
Precision choose_precision(const std::string& name, at::Device device);
// Whether the device lacks instructions for products of bf16, which makes them slower than those of fp32.
bool bf16_is_emulated(at::Device device);
// "fp32", "bf16" or "fp8".
const char* name_of(Precision precision);

// Why no GPU is used, for people: "no NVIDIA driver: libcuda.so.1: cannot open …"; "" if one can be.
std::string why_no_cuda();

// The calling thread's number of arithmetic threads, for as long as this lives; then it is the program's own
// again, as LibTorch may serve the program too. Throws FC_ERROR_MEMORY if the system refuses so many, or the
// memory that they need.
class ArithmeticThreads {
 public:
  explicit ArithmeticThreads(unsigned threads);
  ~ArithmeticThreads();
  ArithmeticThreads(const ArithmeticThreads&) = delete;
  ArithmeticThreads& operator=(const ArithmeticThreads&) = delete;

 private:
  int before_, mkl_before_;
};

// For arithmetic outside of that: throws FC_ERROR_MEMORY if the system refuses the thread's own number.
void ensure_threads();

// Waits for what the calling thread has given the device to do; nothing on the CPU. A time that is measured
// without it is that of giving the orders.
void wait_for(at::Device device);

// Bytes that may still be taken: what the host leaves this process, or what the GPU has free and LibTorch keeps unused.
uint64_t free_memory(at::Device device);
// What LibTorch keeps unused on the GPU goes back to it. Nothing on the CPU.
void give_back_memory(at::Device device) noexcept;

// Logs a warning if LibTorch's OpenMP threads spin at barriers: beside a video encoder that makes chunks
// several times slower. libgomp reads OMP_WAIT_POLICY when it is loaded, so only the program can choose,
// before it loads the engine.
void warn_of_spinning_threads(at::Device device);

}  // namespace flowcache
