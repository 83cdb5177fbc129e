// SPDX-License-Identifier: LGPL-2.1-or-later
// Ctrl-C: the stream that runs is cancelled, so that a command ends in order and says where it was. A second one ends the
// program at once.
#pragma once

#include <atomic>
#include <csignal>

#include "flowcache.h"

namespace flowcache::cli {

inline std::atomic<fc_stream*> interruptible{nullptr};  // lock-free, so the handler may read it
inline volatile std::sig_atomic_t interrupted = 0;

// While it exists, Ctrl-C and SIGTERM cancel this stream, which outlives it.
class CancelOnCtrlC {
 public:
  explicit CancelOnCtrlC(fc_stream* stream) {
    interruptible = stream;
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, handle);
  }
  ~CancelOnCtrlC() {
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
    interruptible = nullptr;
  }
  CancelOnCtrlC(const CancelOnCtrlC&) = delete;
  CancelOnCtrlC& operator=(const CancelOnCtrlC&) = delete;

  // 128 and the signal's number, as shells do; 0: none came.
  static int exit_status() { return interrupted ? 128 + interrupted : 0; }

 private:
  static void handle(int signal) {
    interrupted = signal;
    std::signal(signal, SIG_DFL);
    fc_stream_cancel(interruptible);
  }
};

}  // namespace flowcache::cli
