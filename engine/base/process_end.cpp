// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/process_end.h"

#include <execinfo.h>
#include <pthread.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>

#include "base/error.h"

namespace flowcache {
namespace {

// Longer than a layer of the largest model takes; a callback that waits for the thread that ends must not
// hang it.
constexpr std::chrono::seconds patience{10};

struct Gate {
  std::mutex mutex;  // guards what follows
  std::condition_variable left;
  int inside = 0;
  std::atomic<bool> closed{false};  // read without the mutex, too
  std::atomic<uint64_t> moments{0};
};

thread_local int own_stays = 0;

Gate& gate() {
  static Gate& one = *new Gate;  // never destroyed: threads may come until the very end
  return one;
}

void close_gate() {
  Gate& g = gate();
  std::unique_lock lock(g.mutex);
  if (g.closed.exchange(true)) return;  // registered more than once
  // exit() may have been called from a callback, in which case this very thread is inside.
  g.left.wait_for(lock, patience, [&] { return g.inside == own_stays; });
}

// Handlers run from the last registered to the first, and LibTorch registers its own when it first needs what
// they take apart, which is early for the most part. So ours is registered time and again: at each of the
// first moments, and at the 512th, 1024th, 2048th, ….
void come_first(Gate& g) {
  constexpr uint64_t first = 256;
  const uint64_t moment = ++g.moments;
  if (moment <= first || std::has_single_bit(moment)) std::atexit(close_gate);
}

// A child has none of the other threads, so it must not wait for them.
void survive_forks() {
  pthread_atfork([] { gate().mutex.lock(); }, [] { gate().mutex.unlock(); },
                 [] {
                   gate().inside = own_stays;
                   gate().mutex.unlock();
                 });
}

// An exception that passes through the C library, such as one thrown under std::call_once(), has it open
// libgcc for itself, and end the process if it cannot for want of memory. A backtrace makes it do so now.
void prepare_for_exceptions() {
  void* frame = nullptr;
  backtrace(&frame, 1);
}

}  // namespace

Stay::Stay() {
  static const bool prepared = (survive_forks(), prepare_for_exceptions(), true);
  static_cast<void>(prepared);
  Gate& g = gate();
  come_first(g);
  const std::lock_guard lock(g.mutex);
  admitted_ = !g.closed;
  if (!admitted_) return;
  ++g.inside;
  ++own_stays;
}

Stay::~Stay() {
  if (!admitted_) return;
  Gate& g = gate();
  come_first(g);
  const std::lock_guard lock(g.mutex);
  --g.inside;
  --own_stays;
  g.left.notify_all();
}

void stop_at_process_end() {
  come_first(gate());
  if (gate().closed.load(std::memory_order_relaxed)) throw Error(FC_ENDED, process_ends);
}

}  // namespace flowcache
