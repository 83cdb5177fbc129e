// SPDX-License-Identifier: LGPL-2.1-or-later
// Self-attention's outputs of one forward pass, which whoever runs the blocks may keep and hand back.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

class AttentionMemory {
 public:
  virtual ~AttentionMemory() = default;

  // Asked once per layer, before the layer. What stands for its output, as keep() was given it; undefined:
  // the block computes it. A block that takes it makes no queries, keys or values: the chunk's slots in the
  // cache stay as they are.
  virtual at::Tensor recall(int layer) = 0;
  // What a block has computed, before any gate: [L, n] of the compute type. A family passes it at the last
  // point where self-attention is still by itself: Wan after its output projection, MAGI-1 before the one
  // that it shares with the text's attention.
  virtual void keep(int layer, const at::Tensor& output) = 0;
};

}  // namespace flowcache
