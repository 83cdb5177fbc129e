// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes exit() safe while other threads are in the library. LibTorch's exit handlers destroy parts of it (for
// example, code that oneDNN has compiled is unmapped), so a thread that still computes would crash. A handler
// of this file runs before them. It admits no further calls, makes running calls stop soon, and waits for
// them.
#pragma once

namespace flowcache {

// Marks a call that is in the library. exit() waits for it, at most ten seconds. May be nested. Any thread.
class Stay {
 public:
  Stay();
  ~Stay();
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;
  // False: the process is ending, and the call must return without using LibTorch.
  explicit operator bool() const { return admitted_; }

 private:
  bool admitted_;
};

// The message of calls that are refused or stopped because the process ends; their status is FC_ENDED.
inline constexpr const char* process_ends = "the process is ending: nothing is computed any more";

// Throws Error(FC_ENDED) after exit() has begun. For loops with long rounds.
void stop_at_process_end();

}  // namespace flowcache
