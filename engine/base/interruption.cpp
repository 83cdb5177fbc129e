// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/interruption.h"

#include "base/error.h"
#include "base/process_end.h"

namespace flowcache {
namespace {

thread_local Interruption* own_interruption = nullptr;

}  // namespace

Interruptible::Interruptible(Interruption* interruption) : before_(own_interruption) {
  own_interruption = interruption;
}

Interruptible::~Interruptible() {
  own_interruption = before_;
}

Interruption* interruption_here() {
  return own_interruption;
}

void stop_if_asked() {
  if (own_interruption && own_interruption->asked.load(std::memory_order_relaxed))
    throw Error(FC_CANCELLED, "the stream was cancelled; call again to go on");
}

void layer_reached() {
  stop_at_process_end();
  stop_if_asked();
  if (own_interruption) own_interruption->layers.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace flowcache
