// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/headroom.h"
#include "base/log.h"
#include "base/resources.h"
#include "networks/eight_bits.h"
#include "stream/cpu_report.h"
#include "stream/no_cuda.h"

// Part of LibTorch if that was built with MKL. Returns the old number of this thread; 0 stands for the
// process's number.
extern "C" int MKL_Set_Num_Threads_Local(int count) __attribute__((weak));

namespace flowcache {

namespace {

// The number of devices that CUDA's runtime sees; -1 if it cannot be asked.
int runtime_devices() {
  const auto count_devices = reinterpret_cast<int (*)(int*)>(dlsym(RTLD_DEFAULT, "cudaGetDeviceCount"));
  int count = 0;
  if (!count_devices) return -1;
  return count_devices(&count) == 0 ? count : 0;
}

// Loads the NVIDIA driver, then LibTorch's CUDA library, which registers itself. Both stay loaded. Returns
// the reason if that fails, else "". Without a device LibTorch says that it has no CUDA, as it does after
// arithmetic, and with a driver that is too old it counts none: so the causes are asked for in this order.
std::string open_cuda() {
  if (!dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL)) return std::string("no NVIDIA driver: ") + dlerror();
  // LibTorch's CPU half is linked with CUDA's runtime, too, which knows its version.
  if (const std::string problem = driver_too_old(cuda_facts()); !problem.empty()) return problem;
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
    return std::string("an NVIDIA driver answers, but LibTorch was installed without its CUDA libraries: ") +
           dlerror() + "; run ./demo.sh or ./test.sh, which install them";
  if (runtime_devices() == 0) return why_no_device(cuda_facts());
  if (!at::hasCUDA())
    return "LibTorch had done arithmetic in this process before the engine was opened, and then it takes no "
           "CUDA any "
           "more: open the engine first";
  if (at::detail::getCUDAHooks().deviceCount() == 0) return why_no_device(cuda_facts());
  return "";
}

}  // namespace

std::string why_no_cuda() {
  static std::once_flag once;
  static std::string reason;
  std::call_once(once, [] { reason = open_cuda(); });
  return reason;
}

at::Device choose_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (name.empty() || name == "auto")
    return why_no_cuda().empty() ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  if (name != "cuda" && name.rfind("cuda:", 0) != 0)
    throw Error(FC_ERROR_ARGUMENT, "device \"" + name + "\" is unknown; use auto, cpu, cuda or cuda:N");
  const std::string reason = why_no_cuda();
  if (!reason.empty())
    throw Error(FC_ERROR_DEVICE,
                "device \"" + name + "\" cannot be used: " + reason + "; use device=cpu or auto");
  const std::string index = name == "cuda" ? "0" : name.substr(5);
  const int count = at::detail::getCUDAHooks().deviceCount();
  if (index.empty() || index.size() > 3 || index.find_first_not_of("0123456789") != std::string::npos ||
      std::stoi(index) >= count)
    throw Error(FC_ERROR_DEVICE, "device \"" + name + "\" does not exist: there are " +
                                     std::to_string(count) + " GPUs, counted from 0");
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(std::stoi(index)));
}

Precision choose_precision(const std::string& name, at::Device device) {
  if (name == "fp32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp8" || name == "int8") {
    const at::ScalarType narrow = name == "fp8" ? at::kFloat8_e4m3fn : at::kChar;
    return {at::kBFloat16, narrow, multiplies_eight_bits(device, narrow) ? narrow : at::kBFloat16};
  }
  if (!name.empty() && name != "auto")
    throw Error(FC_ERROR_ARGUMENT,
                "precision \"" + name + "\" is unknown; use auto, fp32, bf16, fp8 or int8");
  return bf16_is_emulated(device) ? at::kFloat : at::kBFloat16;
}

bool bf16_is_emulated(at::Device device) {
  return device.is_cpu() && !cpu_report().bf16_emulated.empty();
}

const char* name_of(Precision precision) {
  if (is_eight_bits(precision.weights)) return precision.weights == at::kChar ? "int8" : "fp8";
  return precision.compute == at::kFloat ? "fp32" : "bf16";
}

void wait_for(at::Device device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl gpu(device.type());
  gpu.synchronizeStream(gpu.getStream(device));
}

void finish_all(at::Device device) noexcept {
  if (!device.is_cuda()) return;
  try {
    c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
  } catch (const std::exception& error) {
    log(FC_LOG_WARNING, std::string("the GPU does not finish its work: ") + error.what());
  }
}

uint64_t free_memory(at::Device device) {
  if (device.is_cpu()) return free_host_memory();
  if (!device.is_cuda()) return UINT64_MAX;
  at::globalContext().lazyInitDevice(device.type());
  c10::DeviceAllocator& allocator = *c10::getDeviceAllocator(device.type());
  const auto stats = allocator.getDeviceStats(device.index());
  constexpr size_t all = 0;  // of the statistics' kinds of pools
  const int64_t unused = stats.reserved_bytes[all].current - stats.allocated_bytes[all].current;
  return allocator.getMemoryInfo(device.index()).first + static_cast<uint64_t>(std::max<int64_t>(0, unused));
}

void give_back_memory(at::Device device) noexcept {
  if (!device.is_cuda()) return;
  try {
    c10::getDeviceAllocator(device.type())->emptyCache();
  } catch (const std::exception& error) {
    log(FC_LOG_WARNING,
        std::string("GPU memory that is not used any more was not given back: ") + error.what());
  }
}

void warn_of_spinning_threads(at::Device device) {
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  const bool passive = policy && (*policy == 'p' || *policy == 'P');
  if (device.is_cpu() && !passive && !std::getenv("GOMP_SPINCOUNT"))
    log(FC_LOG_WARNING,
        "GOMP_SPINCOUNT=1000 is not set: LibTorch's threads spin while they wait, which slows down "
        "this program and whatever runs beside it; set it before the program starts");
}

namespace {

// libgomp ends the process if the system refuses a thread. So this first creates as many threads, to see
// whether it can. It does so for each calling thread, because each has arithmetic threads of its own.
void try_threads(int count) {
  thread_local int granted = 1;
  if (count <= granted) return;
  std::vector<std::thread> tried;
  std::mutex hold;  // keeps all of them alive at the same time
  std::unique_lock lock(hold);
  std::string refusal;
  try {
    for (int i = 1; i < count; ++i) tried.emplace_back([&hold] { const std::lock_guard wait(hold); });
  } catch (const std::exception& error) {
    refusal = error.what();
  }
  lock.unlock();
  for (std::thread& one : tried) one.join();
  if (!refusal.empty())
    throw Error(FC_ERROR_MEMORY, "the system gave " + std::to_string(tried.size() + 1) + " of " +
                                     std::to_string(count) + " threads (" + refusal +
                                     "): lower threads, or raise its limits (ulimit -u, -v)");
  granted = count;
}

// The number of arithmetic threads that this thread has from the program. LibTorch initialises it when a
// thread first needs it, once in the library and once in the code that its headers compile into this file.
// Both must happen before the number is changed.
int own_threads() {
  at::internal::lazy_init_num_threads();
  return at::get_num_threads();
}

}  // namespace

void ensure_threads() {
  try_threads(own_threads());
}

// at::set_num_threads() is not used, because it changes more than this thread's number.
ArithmeticThreads::ArithmeticThreads(unsigned threads) {
  if (!has_headroom()) throw Error(FC_ERROR_MEMORY, out_of_memory);
  before_ = own_threads();
  const int wanted = static_cast<int>(std::max(1u, threads));
  try_threads(wanted);
  omp_set_num_threads(wanted);
  mkl_before_ = MKL_Set_Num_Threads_Local ? MKL_Set_Num_Threads_Local(wanted) : 0;
}

ArithmeticThreads::~ArithmeticThreads() {
  omp_set_num_threads(before_);
  if (MKL_Set_Num_Threads_Local) MKL_Set_Num_Threads_Local(mkl_before_);
}

}  // namespace flowcache
