// SPDX-License-Identifier: LGPL-2.1-or-later
// What the device was given, and what of it is certain to run before what.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "fake_gpu.h"

namespace fake_gpu_test {

class Order {
 public:
  // Of all that was noted until now.
  Order();

  long size() const { return static_cast<long>(operations_.size()); }
  const FakeGpuOperation& operator[](long number) const {
    return operations_.at(static_cast<size_t>(number));
  }
  static bool is_work(const FakeGpuOperation& one) { return one.kind <= FAKE_GPU_SET; }
  // The last work from `begin` to before `end` on `stream`; -1 if there is none.
  long last_work(void* stream, long begin, long end) const;
  // True if `first` is done before `second` begins, by streams, events and the host's waiting.
  bool before(long first, long second) const;
  // True if the host has waited for `number` at the end.
  bool known_to_host(long number) const { return covers(host_, number); }

 private:
  // For each stream, how many of all operations are done on it.
  using Clock = std::map<void*, long>;
  static void merge(Clock& into, const Clock& other);
  bool covers(const Clock& clock, long number) const;

  std::vector<FakeGpuOperation> operations_;
  std::vector<Clock> clocks_;
  Clock host_;
};

// Notes while it exists.
struct Notes {
  Notes();
  ~Notes();
  Notes(const Notes&) = delete;
  Notes& operator=(const Notes&) = delete;
  // How many operations there are until now.
  static long count();
};

}  // namespace fake_gpu_test
