// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine's log. Messages go to the function that fc_set_log_function() was given; without one they are
// dropped.
#pragma once

#include <string>

#include "flowcache.h"

namespace flowcache {

// Any thread.
void log(fc_log_level level, const std::string& message);
void set_log_function(fc_log_function function, void* user);

}  // namespace flowcache
