// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>

namespace flowcache {

// Seconds of wall time since the object was made.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace flowcache
