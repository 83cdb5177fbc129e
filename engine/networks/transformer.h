// SPDX-License-Identifier: LGPL-2.1-or-later
// The interface of all transformers, in three parts that may be run apart: embed, blocks, head. Each family
// implements it (engine/families/).
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "networks/attention_memory.h"
#include "networks/kv_view.h"
#include "networks/token_split.h"
#include "package/safetensors.h"

namespace flowcache {

// What the rest of the engine must know of a transformer.
struct TransformerShape {
  int layers = 0;
  int64_t dim = 0;       // hidden width
  int64_t heads = 0;     // query heads
  int64_t kv_heads = 0;  // heads of keys and values; equal to heads without GQA
  int64_t head_dim = 0;
  // Passes whose heads lie side by side in the cache: `heads` and `kv_heads` are those of all of them. blocks() hands keys
  // and values of each layer to the KvView so often.
  int64_t head_sets = 1;
  int64_t latent_channels = 0;
  int64_t patch_height = 2, patch_width = 2;  // latent pixels per token; one latent frame deep
  // For counting operations. Weights of one block that each token is multiplied with; 0: not known.
  int64_t block_weights = 0;
  // Those of them that are saved where self-attention is recalled (attention_memory.h).
  int64_t attention_weights = 0;
  // RoPE in time: pair (2i, 2i+1) of a head turns by time_frequencies[i] radians for each latent frame; the
  // pairs behind the last entry do not turn. Empty: keys cannot be moved in time.
  std::vector<double> time_frequencies = {};
  int64_t tokens_per_frame(int64_t latent_height, int64_t latent_width) const {
    return (latent_height / patch_height) * (latent_width / patch_width);
  }
};

// The tokens of a chunk: latent frames x rows x columns, flattened in that order.
struct Grid {
  int64_t frames = 0, height = 0, width = 0;
  int64_t tokens() const { return frames * height * width; }
};

// What embed() makes of a chunk: its tokens, and what blocks() and head() need beside them.
struct Embedded {
  // [L, dim]. Wan: fp32 whatever the precision. MAGI-1: of the compute type, all passes one after the other.
  at::Tensor tokens;
  // Timestep embedding `e` [groups, dim] fp32. A group is a run of frames with one timestep; groups divide
  // the chunk's frames evenly. MAGI-1: one group, of its condition's width.
  at::Tensor time;
  // `e0` [groups, 6, dim] fp32: what adaLN adds to each block's own modulation. MAGI-1: `time` once more,
  // [1, 1, width].
  at::Tensor modulation;
  // RoPE's angles, in the family's own form, where blocks() reads them here instead of making them; else undefined.
  at::Tensor rope;
  Grid grid;
  double timestep = 0;      // as given to embed(), where a family's passes depend on it
  int64_t first_frame = 0;  // absolute latent frame that the chunk begins with: RoPE's offset in time
  // The next two are for the caller to set before blocks(); embed() leaves them alone.
  AttentionMemory* attention = nullptr;  // null: every block computes its attention, and none is kept
  // True: only the keys and values that go to the KvView are wanted. A family may then leave out what follows
  // the last layer's.
  bool keys_only = false;
  // The timesteps that embed() got, where other processes embed the same (engine/parallel/); else empty.
  std::vector<double> timesteps = {};
  // Not null: several processes share the chunk. Then blocks() gets and returns the rows of this one only, of each pass.
  TokenSplit* split = nullptr;
  int64_t first_row() const { return split ? split->rows().first : 0; }
  int64_t rows() const { return split ? split->rows().count : grid.tokens(); }
};

// A prompt in the form that a family's blocks want, such as keys and values of the text, computed once.
// Immutable; may be shared.
class Condition {
 public:
  virtual ~Condition() = default;
};

// Thread-safe: the calls are const, and only the weights are kept between them.
class Transformer {
 public:
  virtual ~Transformer() = default;
  virtual const TransformerShape& shape() const = 0;

  // features: the text encoder's output [n, text_dim], n at most the family's text length (MAGI-1 cuts what
  // is longer); padded inside. Features of another shape: FC_ERROR_MODEL, from MAGI-1 FC_ERROR_ARGUMENT.
  virtual std::shared_ptr<const Condition> condition(const at::Tensor& features) const = 0;

  // latent [C, F, h, w] fp32. timesteps: one for the chunk, or one for each latent frame, in the
  // family's unit (0..1000; MAGI-1: 0..1); 0 means clean. first_frame: absolute latent frame that
  // the chunk begins with.
  virtual Embedded embed(const at::Tensor& latent, std::span<const double> timesteps,
                         int64_t first_frame) const = 0;

  // From now on a block works on at most `most` tokens at a time, except that each token still attends all
  // keys (feature slicing, LightCache, arXiv 2510.05367). This takes less memory and more calls. The result
  // is the same but for rounding, as products have other shapes. 0, the default: the family decides. Not
  // while another call runs.
  virtual void slice_tokens(int64_t /*most*/) {}

  // Runs blocks first..last-1 on tokens [L, dim], which are embedded.tokens where first is 0. Returns the
  // tokens [L, dim] behind block last-1. Hands each layer's keys and values to `kv`.
  virtual at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition,
                            KvView& kv, int first, int last) const = 0;

  // Where these blocks run on another device than those of other guidance branches, begins them there, so that the others
  // can run beside them; blocks() with the same arguments then waits for the result, before what is returned is gone.
  // Null: nothing was begun.
  class Begun {
   public:
    virtual ~Begun() = default;
  };
  virtual std::unique_ptr<Begun> begin_blocks(const Embedded&, const at::Tensor& /*tokens*/, const Condition&,
                                              KvView&, int /*first*/, int /*last*/) const {
    return nullptr;
  }

  // tokens [L, dim] behind the last block -> velocity [C, F, h, w] fp32.
  virtual at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const = 0;

  // How many chunks a chunk of a prefix video attends, itself included; 0: all.
  virtual int64_t prefix_context() const { return 0; }

  // Adds to `touched` the weights that are kept in one piece with one of them.
  virtual void add_joined(std::set<std::string>& /*touched*/) const {}
  // The same network, with the weights that `touched` names from `weights`. It shares all other matrices with this one.
  // weights: as make_transformer() takes them; touched: after add_joined(). Throws FC_ERROR_ARGUMENT where a network cannot.
  virtual std::unique_ptr<Transformer> with_weights(const WeightMap& /*weights*/,
                                                    const std::set<std::string>& /*touched*/) const {
    throw Error(FC_ERROR_ARGUMENT, "this model's network cannot take other weights while it plays");
  }

  // embed, blocks and head in one call.
  at::Tensor forward(const at::Tensor& latent, double timestep, int64_t first_frame,
                     const Condition& condition, KvView& kv) const {
    const Embedded embedded = embed(latent, std::span(&timestep, 1), first_frame);
    return head(embedded, blocks(embedded, embedded.tokens, condition, kv, 0, shape().layers));
  }
};

}  // namespace flowcache
