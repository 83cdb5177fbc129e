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

// Longer than a layer of the largest model takes. There must be a limit, because a callback may wait for the
// very thread that ends the process.
constexpr std::chrono::seconds patience{10};

struct Gate {
  std::mutex mutex;  // guards the members below
  std::condition_variable left;
  int inside = 0;
  std::atomic<bool> closed{false};  // may also be read without the mutex
  std::atomic<uint64_t> moments{0};
};

thread_local int own_stays = 0;

Gate& gate() {
  static Gate& one = *new Gate;  // never destroyed, because threads may use it until the process is gone
  return one;
}

void close_gate() {
  Gate& g = gate();
  std::unique_lock lock(g.mutex);
  if (g.closed.exchange(true)) return;  // the handler is registered several times and works once
  // A callback may have called exit(). Then this thread itself is inside, so its own calls are not waited
  // for.
  g.left.wait_for(lock, patience, [&] { return g.inside == own_stays; });
}

// Exit handlers run from the last registered to the first. LibTorch registers its own when it first needs
// what they destroy, which is mostly early. Ours must run before them, so it is registered again and again:
// at each of the first calls, and at the 512th, 1024th, 2048th, ….
void come_first(Gate& g) {
  constexpr uint64_t first = 256;
  const uint64_t moment = ++g.moments;
  if (moment <= first || std::has_single_bit(moment)) std::atexit(close_gate);
}

// After fork() the child has none of the other threads, so it must not wait for them.
void survive_forks() {
  pthread_atfork([] { gate().mutex.lock(); }, [] { gate().mutex.unlock(); },
                 [] {
                   gate().inside = own_stays;
                   gate().mutex.unlock();
                 });
}

// When an exception passes through the C library (for example one thrown under std::call_once()), the C
// library opens libgcc, and ends the process if memory for it is missing. A backtrace makes it open libgcc
// now.
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
