// SPDX-License-Identifier: LGPL-2.1-or-later
// What tensors take on the CPU at most while something runs. Counts what the calling thread allocates and
// frees, so with one thread it is exact; scratch memory inside libraries is not counted.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <memory>

namespace flowcache::test {

class PeakMemory final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
    now_ += bytes;
    peak = std::max(peak, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak = 0;

 private:
  int64_t now_ = 0;
};

template <typename Call>
int64_t peak_bytes(const Call& call) {
  const auto memory = std::make_shared<PeakMemory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, memory);
  call();
  return memory->peak;
}

}  // namespace flowcache::test
