// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether the stand-in is there, and what happened on it from one moment to another.
#pragma once

#include <dlfcn.h>

#include <cstdio>

#include "fake_gpu.h"

namespace fake_gpu_test {

// False, after a word on standard error, if it is not: then the program is to end with 77, which is "skipped".
inline bool is_preloaded(const char* remedy = "run meson test --suite fake-gpu") {
  if (dlsym(RTLD_DEFAULT, "fake_gpu_counts")) return true;
  std::fprintf(stderr, "the stand-in for NVIDIA's libraries is not preloaded: %s\n", remedy);
  return false;
}

// Of the stand-in, which is preloaded.
inline FakeGpuCounts counts() {
  FakeGpuCounts now{};
  reinterpret_cast<decltype(&fake_gpu_counts)>(dlsym(RTLD_DEFAULT, "fake_gpu_counts"))(&now);
  return now;
}
inline void restart_peak() {
  reinterpret_cast<decltype(&fake_gpu_restart_peak)>(dlsym(RTLD_DEFAULT, "fake_gpu_restart_peak"))();
}

// What happened from `begin` to `end`. used and peak are those of `end`.
inline FakeGpuCounts between(const FakeGpuCounts& begin, const FakeGpuCounts& end) {
  FakeGpuCounts d = end;
  d.launches -= begin.launches;
  d.syncs -= begin.syncs;
  d.to_device -= begin.to_device;
  d.to_host -= begin.to_host;
  d.on_device -= begin.on_device;
  d.to_host_bytes -= begin.to_host_bytes;
  d.mallocs -= begin.mallocs;
  d.tf32 -= begin.tf32;
  d.graphs_run -= begin.graphs_run;
  d.noted -= begin.noted;
  d.forbidden -= begin.forbidden;
  return d;
}

}  // namespace fake_gpu_test
