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
  long tf32;                   /* matrix products that cuBLAS may compute in TF32 */
  long graphs_run;             /* of `launches`, those of whole graphs */
  long noted;                  /* kernels that were noted for a graph instead of run */
  long forbidden;              /* what must not happen while a graph is noted, and was refused */
  long nccl_given, nccl_taken; /* bytes to and from other ranks */
};
void fake_gpu_counts(struct FakeGpuCounts* counts);
/* One more kernel of this name on this stream, for what a test program runs in the place of a library's. */
void fake_gpu_count_launch(const char* name, void* stream);
/* The peak begins again at what is used now. */
void fake_gpu_restart_peak(void);

/* What the device was given, in the order of the calls. */
enum FakeGpuKind {
  FAKE_GPU_LAUNCH,
  FAKE_GPU_COPY,
  FAKE_GPU_SET,
  FAKE_GPU_RECORD,
  FAKE_GPU_WAIT,
  FAKE_GPU_SYNC_STREAM,
  FAKE_GPU_SYNC_EVENT,
  FAKE_GPU_SYNC_DEVICE
};
struct FakeGpuOperation {
  enum FakeGpuKind kind;
  void* stream;   /* null: the default stream */
  void* event;    /* of RECORD, WAIT and SYNC_EVENT */
  int to_host;    /* of COPY: from the device to the host */
  int device;     /* the calling thread's at that time */
  char name[120]; /* of LAUNCH */
};
/* From now on operations are noted (on != 0) or not; what was noted is forgotten. */
void fake_gpu_note(int on);
/* How many were noted; the first `most` of them from number `first` on are copied. */
long fake_gpu_operations(struct FakeGpuOperation* operations, long first, long most);
/* How long every kernel and every copy takes; 1e-5 at first. The device's clock runs by these alone. The host knows that
 * something is done when it has waited for it. */
void fake_gpu_launch_seconds(double seconds);
/* Called before each launch, on the launching thread; null: nothing. */
void fake_gpu_on_launch(void (*function)(void));
}
/* Environment: FAKE_GPU_DEVICES (1), FAKE_GPU_BYTES of each (80e9), FAKE_GPU_DRIVER (13000): its CUDA version;
 * FAKE_GPU_CAPABILITY (90): ten times the compute capability;
 * FAKE_GPU_ASKING=1: a question whether something is done takes the host a microsecond, so that asking again and again ends;
 * FAKE_GPU_KERNELS=N: the N most launched kernels are printed at exit; FAKE_GPU_SYNCS=1: where the host waits is printed. */
