// SPDX-License-Identifier: LGPL-2.1-or-later
// CUDA's blocks and threads on the host, so that the kernels' .cu files compile and run where there is no GPU: what they
// compute is then tested as any other code. One block after the other; its threads take turns and change only where they
// wait for each other. So a barrier that is missing shows as wrong numbers, in one order of the threads or the other, and one
// that not all of them reach ends the program. Speed, memory and what runs at the same time are not shown.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static  // blocks run one after the other

struct dim3 {
  unsigned x, y, z;
  // Not explicit, as CUDA's is not.
  dim3(unsigned columns = 1, unsigned rows = 1, unsigned layers = 1) : x(columns), y(rows), z(layers) {}
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace cuda_on_host {

inline bool backwards = false;  // the order in which a block's threads take turns

class Block {
 public:
  static Block& get() {
    static Block one;
    return one;
  }

  void run(const std::function<void()>& kernel) {
    kernel_ = &kernel;
    const size_t count = size_t{blockDim.x} * blockDim.y * blockDim.z;
    while (threads_.size() < count) threads_.push_back(std::make_unique<Thread>());
    count_ = count;
    for (size_t i = 0; i < count; ++i) {
      Thread& one = *threads_[i];
      one.place = Place::running;
      getcontext(&one.context);
      one.context.uc_stack.ss_sp = one.stack;
      one.context.uc_stack.ss_size = sizeof one.stack;
      one.context.uc_link = &turns_;
      makecontext(&one.context, &Block::begin, 0);
    }
    do {
      const size_t warps = (count + 31) / 32;
      for (size_t i = 0; i < warps; ++i) run_warp(32 * (backwards ? warps - 1 - i : i));
    } while (release_block());
  }

  void wait_for_block() { wait(Place::at_block); }
  template <typename T>
  T exchange(T value, unsigned lane_mask) {
    static_assert(sizeof(T) <= sizeof(double));
    std::memcpy(threads_[current_]->given, &value, sizeof value);
    wait(Place::at_warp);
    std::memcpy(&value, threads_[current_ ^ lane_mask]->given, sizeof value);
    wait(Place::at_warp);  // before anybody gives the next one
    return value;
  }

 private:
  enum class Place { running, at_block, at_warp, ended };
  struct Thread {
    ucontext_t context;
    Place place;
    alignas(16) std::byte given[sizeof(double)];
    alignas(16) std::byte stack[1 << 16];
  };

  static void begin() {
    Block& block = get();
    (*block.kernel_)();
    block.threads_[block.current_]->place = Place::ended;
  }
  void wait(Place place) {
    Thread& one = *threads_[current_];
    one.place = place;
    swapcontext(&one.context, &turns_);
  }
  // Runs the warp that begins with this thread until it waits for other warps, or has ended. So warps are as far apart
  // as barriers let them be.
  void run_warp(size_t begin) {
    const size_t end = std::min(begin + 32, count_);
    bool together = true;
    while (together) {
      for (size_t i = begin; i < end; ++i) run_thread(backwards ? end - 1 - (i - begin) : i);
      for (size_t i = begin; i < end; ++i) together &= threads_[i]->place == Place::at_warp;
      for (size_t i = begin; i < end && together; ++i) threads_[i]->place = Place::running;
    }
  }
  void run_thread(size_t number) {
    if (threads_[number]->place != Place::running) return;
    current_ = number;
    const auto index = static_cast<unsigned>(number);
    threadIdx = dim3(index % blockDim.x, index / blockDim.x % blockDim.y, index / blockDim.x / blockDim.y);
    swapcontext(&turns_, &threads_[number]->context);
  }
  // Lets all go on who wait for the block. False if all have ended.
  bool release_block() {
    bool any = false;
    for (size_t i = 0; i < count_; ++i) {
      Place& place = threads_[i]->place;
      if (place == Place::at_warp) {
        std::fprintf(stderr, "cuda_on_host: the threads of a warp wait for each other in vain\n");
        std::abort();
      }
      if (place == Place::ended) continue;
      place = Place::running;
      any = true;
    }
    return any;
  }

  std::vector<std::unique_ptr<Thread>> threads_;
  size_t count_ = 0, current_ = 0;
  ucontext_t turns_;
  const std::function<void()>* kernel_ = nullptr;
};

inline cudaError_t run_grid(const cudaLaunchConfig_t& config, const std::function<void()>& kernel) {
  const dim3 &grid = config.gridDim, &block = config.blockDim;
  const size_t threads = size_t{block.x} * block.y * block.z;
  const bool good = grid.x > 0 && grid.x <= 2147483647 && grid.y > 0 && grid.y <= 65535 && grid.z > 0 &&
                    grid.z <= 65535 && threads > 0 && threads <= 1024;
  if (!good) return cudaErrorInvalidConfiguration;
  gridDim = grid;
  blockDim = block;
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) Block::get().run(kernel);
  return cudaSuccess;
}

}  // namespace cuda_on_host

template <typename... Wanted, typename... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Wanted...),
                               const Given&... given) {
  const std::tuple<Wanted...> arguments(given...);
  return cuda_on_host::run_grid(*config, [&] { std::apply(kernel, arguments); });
}

inline void __syncthreads() {
  cuda_on_host::Block::get().wait_for_block();
}
template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned lane_mask) {
  return cuda_on_host::Block::get().exchange(value, lane_mask);
}
inline float __uint_as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint32_t __float_as_uint(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
constexpr unsigned cudaStreamNonBlocking = 1;
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  static char one;
  *stream = &one;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
