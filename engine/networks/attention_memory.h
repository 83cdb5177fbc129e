// SPDX-License-Identifier: LGPL-2.1-or-later
// Outputs of self-attention that are kept from one forward pass and handed back in a later one.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

// What a process must know to recall and keep the same as another one.
struct AttentionPlan {
  std::vector<double> factors;  // of what is recalled, newest first; empty: nothing is recalled
  int kept = 0;                 // outputs that are kept of each layer
  std::vector<int64_t> sizes;   // how many there are before the pass, of each layer
};

class AttentionMemory {
 public:
  virtual ~AttentionMemory() = default;

  virtual AttentionPlan plan() const { return {}; }

  // Called once for each layer, before it runs. Returns what the layer's self-attention shall give, in the
  // form that keep() got; undefined: the block computes it. A block that uses it makes no queries, keys or
  // values, so the chunk's slots in the cache stay as they are.
  virtual at::Tensor recall(int layer) = 0;
  // Gets what a block has computed: [L, n] of the compute type, before any gate. A family takes it at the
  // last place where self-attention stands alone: Wan behind the output projection, MAGI-1 before the
  // projection that self-attention shares with the text's attention.
  virtual void keep(int layer, const at::Tensor& output) = 0;
};

}  // namespace flowcache
