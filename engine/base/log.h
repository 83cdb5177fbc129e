// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine's log: goes where fc_set_log_function() says, and nowhere by itself.
#pragma once

#include <string>

#include "flowcache.h"

namespace flowcache {

// Any thread.
void log(fc_log_level level, const std::string& message);
void set_log_function(fc_log_function function, void* user);

}  // namespace flowcache
