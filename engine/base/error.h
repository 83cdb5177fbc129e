// SPDX-License-Identifier: LGPL-2.1-or-later
// The one exception type of the engine. It stops at api.cpp, where it becomes an fc_status and a sentence.
#pragma once

#include <stdexcept>
#include <string>

#include "flowcache.h"

namespace flowcache {

// `message` is shown to people as it is: it names the value, the limit and the remedy.
class Error : public std::runtime_error {
 public:
  Error(fc_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  fc_status status() const { return status_; }

 private:
  fc_status status_;
};

}  // namespace flowcache
