// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/headroom.h"

#include <sys/mman.h>

#include <cstddef>

namespace flowcache {

bool has_headroom() noexcept {
  constexpr size_t bytes = 64 << 20;
  void* room = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return false;
  munmap(room, bytes);
  return true;
}

}  // namespace flowcache
