// SPDX-License-Identifier: LGPL-2.1-or-later
#include "case.h"

namespace golden {

void register_cache(Handlers& handlers) {}

}  // namespace golden
