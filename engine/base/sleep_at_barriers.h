// SPDX-License-Identifier: LGPL-2.1-or-later
// For programs that link the engine.
#pragma once

#include <unistd.h>

#include <cstdlib>

namespace flowcache {

// First thing in main(): sets GOMP_SPINCOUNT=1000 and starts the program again, as libgomp reads it when it
// is loaded, which is before main(); flowcache.h says why it matters. Does nothing if the user has chosen.
// Returns if it could not start again; then the threads spin.
inline void sleep_at_barriers(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  setenv("GOMP_SPINCOUNT", "1000", 1);
  execv("/proc/self/exe", argv);
}

}  // namespace flowcache
