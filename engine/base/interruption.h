// SPDX-License-Identifier: LGPL-2.1-or-later
// A long calculation that another thread stops between two of its parts. The check reads one pointer of its thread and one
// flag, so it may stand within the layers of a network.
#pragma once

#include <atomic>
#include <cstdint>

namespace flowcache {

struct Interruption {
  std::atomic<bool> asked{false};   // set it to stop the calculation; any thread, also in a signal handler
  std::atomic<uint64_t> layers{0};  // layers of a network that it has come to
};

// While it exists, the calling thread's calculation is the one of `interruption`; null: none, nothing stops it. May be
// nested.
class Interruptible {
 public:
  explicit Interruptible(Interruption* interruption);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  Interruption* before_;
};

// The calling thread's, for threads that work for it; null if there is none.
Interruption* interruption_here();

// Throws Error(FC_CANCELLED) if the calling thread's calculation is asked to stop. For places where it can be thrown away and
// done again.
void stop_if_asked();

// The same, once for each layer of a network, which it counts. Also stops at the end of the process (process_end.h).
void layer_reached();

}  // namespace flowcache
