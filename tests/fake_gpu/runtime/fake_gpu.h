// SPDX-License-Identifier: LGPL-2.1-or-later
// What a test asks the stand-in for NVIDIA's libraries. Found with dlsym(), as the library is preloaded.
#pragma once

extern "C" {

/* Since the process began; `used` and `peak` in bytes of device memory. */
struct FakeGpuCounts {
  long launches;                      /* kernels, matrix products of cuBLAS included */
  long syncs;                         /* the host waits for the device */
  long to_device, to_host, on_device; /* copies */
  long to_host_bytes;
  long mallocs; /* cudaMalloc */
  long used, peak;
};
void fake_gpu_counts(struct FakeGpuCounts* counts);
/* One more kernel of this name, for what a test program runs in the place of a library's. */
void fake_gpu_count_launch(const char* name);
/* The peak begins again at what is used now. */
void fake_gpu_restart_peak(void);
}
/* Environment: FAKE_GPU_DEVICES (1), FAKE_GPU_BYTES of each (80e9), FAKE_GPU_DRIVER (13000): its CUDA version;
 * FAKE_GPU_CAPABILITY (90): ten times the compute capability;
 * FAKE_GPU_KERNELS=N: the N most launched kernels are printed at exit. */
