// SPDX-License-Identifier: LGPL-2.1-or-later
// For programs that are linked with the engine.
#pragma once

#include <unistd.h>

#include <cstdlib>

namespace flowcache {

// Call this first in main(). It sets GOMP_SPINCOUNT=1000 and starts the program again, because libgomp reads
// the variable when it is loaded, which is before main(); flowcache.h says why it matters. It does nothing if
// the user has set OMP_WAIT_POLICY or GOMP_SPINCOUNT. If the program cannot be started again, it returns, and
// the threads will spin.
inline void sleep_at_barriers(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  setenv("GOMP_SPINCOUNT", "1000", 1);
  execv("/proc/self/exe", argv);
}

}  // namespace flowcache
