// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace spare {

// What a chunk of each kind of stream copies and asks for, beside the most that it may.
void print_budgets();

}  // namespace spare
