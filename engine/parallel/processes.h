// SPDX-License-Identifier: LGPL-2.1-or-later
// Worker processes on this machine.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "parallel/channel.h"

namespace flowcache {

// Ends the process when it is gone, if it still runs.
class WorkerProcess {
 public:
  // Starts `flowcache worker`: the program that FLOWCACHE_PROGRAM names, else the one beside this library, else the one in
  // PATH. Throws FC_ERROR_NOT_FOUND.
  static WorkerProcess start();
  ~WorkerProcess() { end(std::chrono::milliseconds(0)); }
  WorkerProcess(WorkerProcess&& other) noexcept;
  WorkerProcess& operator=(WorkerProcess&&) = delete;

  pid_t id() const { return id_; }
  Channel channel;
  // Waits so long for it to end by itself, then kills it.
  void end(std::chrono::milliseconds patience);
  // "was ended by signal 9 (Killed)", "is stopped", …; "" while it runs.
  std::string trouble();

 private:
  explicit WorkerProcess(pid_t id, Channel own) : channel(std::move(own)), id_(id) {}
  bool ended();
  pid_t id_;
  bool reaped_ = false;
  int status_ = 0;
};

}  // namespace flowcache
