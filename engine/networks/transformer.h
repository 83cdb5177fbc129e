// SPDX-License-Identifier: LGPL-2.1-or-later
// The seam of the networks: embed | blocks | head. One file a family implements it.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <span>
#include <vector>

#include "networks/attention_memory.h"
#include "networks/kv_view.h"

namespace flowcache {

// What the rest of the engine must know of a transformer's shape.
struct TransformerShape {
  int layers = 0;
  int64_t dim = 0;        // hidden width
  int64_t heads = 0;      // query heads
  int64_t kv_heads = 0;   // key/value heads (== heads without GQA)
  int64_t head_dim = 0;
  int64_t latent_channels = 0;
  int64_t patch_height = 2, patch_width = 2;  // latent pixels per token; one latent frame deep
  int64_t block_weights = 0;  // of one block's matrices that every token is multiplied with; 0: not told
  int64_t attention_weights = 0;  // those of them that a recalled self-attention leaves out
  // Rotary time positions: the head's leading pairs (2i, 2i+1) turn by this many radians a latent frame; empty: keys
  // cannot be moved in time.
  std::vector<double> time_frequencies = {};
  int64_t tokens_per_frame(int64_t latent_height, int64_t latent_width) const {
    return (latent_height / patch_height) * (latent_width / patch_width);
  }
};

// Token grid of a chunk: latent frames x rows x columns, flattened in that order.
struct Grid {
  int64_t frames = 0, height = 0, width = 0;
  int64_t tokens() const { return frames * height * width; }
};

// A chunk after embed(): what blocks() and head() need beside the running tokens.
struct Embedded {
  at::Tensor tokens;      // [L, dim], the network's compute type; MAGI-1: of all its passes
  at::Tensor time;        // [groups, dim] fp32: timestep embedding `e`; groups divide the frames evenly (1: one timestep)
  at::Tensor modulation;  // [groups, 6, dim] fp32: `e0`, what adaLN adds to each block's own modulation
  Grid grid;
  double timestep = 0;      // as given to embed(), where a family's passes depend on it
  int64_t first_frame = 0;  // absolute latent frame of the chunk's first frame: RoPE's time offset
  AttentionMemory* attention = nullptr;  // embed() leaves it; null: every block computes its own, none is kept
  bool keys_only = false;  // embed() leaves it; true: only what goes to the KvView is wanted, so a family may leave out
                           // what follows the last layer's keys and values
};

// A prompt as a family's blocks want it (e.g. cross-attention keys and values, computed once). Immutable, shareable.
class Condition {
 public:
  virtual ~Condition() = default;
};

// Thread-safe: const, no state between calls but the weights.
class Transformer {
 public:
  virtual ~Transformer() = default;
  virtual const TransformerShape& shape() const = 0;

  // `features`: text encoder output [n, text_dim], n <= the family's text length; padded inside.
  virtual std::shared_ptr<const Condition> condition(const at::Tensor& features) const = 0;

  // latent [C, F, h, w] fp32; timesteps: one for the chunk, or one per latent frame, in the family's unit (0..1000;
  // MAGI-1 0..1). 0 is a clean chunk.
  virtual Embedded embed(const at::Tensor& latent, std::span<const double> timesteps, int64_t first_frame) const = 0;

  // From now on a block works on at most so many tokens at once where tokens do not meet (all but attention's
  // keys): less memory beside the tokens themselves, the same result but for the rounding of products of other
  // shapes. 0, as at first: on all of them, or as the family likes. Not beside a running call.
  virtual void slice_tokens(int64_t /*most*/) {}

  // Runs blocks [first, last) on `tokens` [L, dim] (embedded.tokens for first == 0). Returns [L, dim].
  virtual at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                            int first, int last) const = 0;

  // tokens [L, dim] after the last block -> velocity [C, F, h, w] fp32.
  virtual at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const = 0;

  // How many chunks a chunk of a prefix video attends, itself included; 0: all that there are.
  virtual int64_t prefix_context() const { return 0; }

  // embed | blocks | head in one call.
  at::Tensor forward(const at::Tensor& latent, double timestep, int64_t first_frame, const Condition& condition,
                     KvView& kv) const {
    const Embedded embedded = embed(latent, std::span(&timestep, 1), first_frame);
    return head(embedded, blocks(embedded, embedded.tokens, condition, kv, 0, shape().layers));
  }
};

}  // namespace flowcache
