// SPDX-License-Identifier: LGPL-2.1-or-later
// Waiting for another rank without sleeping at first.
//
// Ranks wait for each other in every layer, mostly for less time than a sleeping processor needs to wake up (a virtual one
// takes up to a millisecond). The processor is the rank's own and has nothing else to do meanwhile.
#pragma once

#include <sched.h>

#include <chrono>

namespace flowcache {

// How long a rank looks before it sleeps: longer than ranks of one speed keep each other waiting between two layers, and
// short beside what a stopped rank costs.
constexpr std::chrono::milliseconds kAwake{5};

// Asks until done() is true, for `most` at most, and lets every thread run first that can. Returns the last answer.
template <class Done>
bool stay_awake_until(const Done& done, std::chrono::milliseconds most = kAwake) {
  const auto end = std::chrono::steady_clock::now() + most;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    sched_yield();
  }
  return true;
}

}  // namespace flowcache
