// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/log.h"

#include <mutex>

namespace flowcache {

namespace {

std::mutex log_mutex;  // guards the next two variables; released before the log function is called
fc_log_function log_function = nullptr;
void* log_user = nullptr;

}  // namespace

void set_log_function(fc_log_function function, void* user) {
  const std::lock_guard lock(log_mutex);
  log_function = function;
  log_user = user;
}

void log(fc_log_level level, const std::string& message) {
  fc_log_function function = nullptr;
  void* user = nullptr;
  {
    const std::lock_guard lock(log_mutex);
    function = log_function;
    user = log_user;
  }
  if (function) function(user, level, message.c_str());
}

}  // namespace flowcache
