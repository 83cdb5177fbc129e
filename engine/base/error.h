// SPDX-License-Identifier: LGPL-2.1-or-later
// The exception type of the engine. api*.cpp catch it and turn it into an fc_status and a message.
#pragma once

#include <stdexcept>
#include <string>

#include "flowcache.h"

namespace flowcache {

// `message` is shown to users unchanged. It names the value, the limit and the remedy.
class Error : public std::runtime_error {
 public:
  Error(fc_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  fc_status status() const { return status_; }

 private:
  fc_status status_;
};

}  // namespace flowcache
