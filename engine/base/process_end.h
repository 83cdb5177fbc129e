// SPDX-License-Identifier: LGPL-2.1-or-later
// exit() while other threads are in the library. Its handlers take LibTorch apart (the code that oneDNN has
// compiled is unmapped), so whoever still computes then would crash. A handler of ours comes before those: it
// lets nobody in any more, has the running calls stop at the next chance, and waits for them.
#pragma once

namespace flowcache {

// A call's stay in the library; exit() waits for it, ten seconds at most. May be nested. Any thread.
class Stay {
 public:
  Stay();
  ~Stay();
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;
  // False: the process is ending, and the call must return without touching LibTorch.
  explicit operator bool() const { return admitted_; }

 private:
  bool admitted_;
};

// The sentence of calls that the end of the process refuses or breaks off; their status is FC_ENDED.
inline constexpr const char* process_ends = "the process is ending: nothing is computed any more";

// Throws Error(FC_ENDED) once exit() has begun. For loops whose rounds take long.
void stop_at_process_end();

}  // namespace flowcache
