// SPDX-License-Identifier: LGPL-2.1-or-later
// Closes the gaps that dropped tokens leave in the KV buffer.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace flowcache {

// Moves rows of `buffer` [planes, heads, capacity, width] towards the front. In each plane of head h, row
// slots[h][i] moves to row i; then follow the `tail` rows that began at row `used`. The rows after them keep
// their old content. slots: int64 [kept] for all heads or [heads, kept], contiguous, on the CPU, each below
// `used`. All planes of a head move alike, so a value stays with its key. If slots ascend and the buffer is
// on the CPU, rows move in place; else `scratch` is used, which is allocated when first needed: [heads, capacity,
// width].
void compact_rows(at::Tensor buffer, const at::Tensor& slots, int64_t used, int64_t tail,
                  at::Tensor& scratch);

// The same for each layer of a buffer [layers, planes, heads, capacity, width], with slots[layer]. On an NVIDIA GPU
// with kernels (cuda_kernels.h), if all slots ascend, this is one launch, in place, after one upload of the slots.
void compact_layers(at::Tensor buffer, const std::vector<at::Tensor>& slots, int64_t used, int64_t tail,
                    at::Tensor& scratch);

}  // namespace flowcache
