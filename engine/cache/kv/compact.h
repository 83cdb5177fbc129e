// SPDX-License-Identifier: LGPL-2.1-or-later
// Closing the gaps that dropped tokens leave in the KV buffer.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Moves rows of `buffer` [planes, heads, capacity, width] towards the front. Plane p, head h: row slots[h][i]
// goes to row i; then the `tail` rows that begin at row `used` follow. Rows behind are left as they are.
// slots: int64 [kept] or [heads, kept], contiguous, on the CPU, each below `used`. Head h's planes move
// alike, which is how a value stays with its key. Needs no memory if slots ascend and the buffer is on the
// CPU; otherwise `scratch`, made once as large as a plane.
void compact_rows(at::Tensor buffer, const at::Tensor& slots, int64_t used, int64_t tail,
                  at::Tensor& scratch);

}  // namespace flowcache
