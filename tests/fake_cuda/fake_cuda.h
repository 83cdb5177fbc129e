// SPDX-License-Identifier: LGPL-2.1-or-later
// A stand-in for NVIDIA's driver, libcuda.so.1: the calls that GStreamer's CUDA library and the plugin make,
// on host memory. It has no kernels. What the real driver would refuse is refused and counted:
// work without a current context, contexts that are gone, pops that do not match, copies out of bounds.
#pragma once

#include <cstddef>

extern "C" {

// What a test can ask. Look them up with dlsym(); all counts are of the process.
int fake_cuda_misuses();               // calls that a driver would refuse
const char* fake_cuda_first_misuse();  // what the first was; "" if there was none
int fake_cuda_live_contexts();         // created ones; the primary context counts while it is retained
int fake_cuda_live_allocations();      // device and pinned host memory
int fake_cuda_copies_to_device();
int fake_cuda_copies_on_device();
// Whether device memory starts or lies at this address in the primary context.
int fake_cuda_is_primary(const void* pointer);
// As a kernel: whether these bytes are device memory of the current context. If not, a misuse.
int fake_cuda_may_touch(const void* pointer, size_t bytes);
// OpenGL is on this device (1), or on none that it knows (0: as it begins).
void fake_cuda_put_gl_on_device(int on);
// Allocations fail from now on (1), or not (0).
void fake_cuda_fail_allocations(int fail);
}
