// SPDX-License-Identifier: LGPL-2.1-or-later
// What is split how: arithmetic on shapes, without any process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "networks/transformer.h"
#include "package/model.h"

namespace flowcache {

// A part of `total` things, of nearly equal size for each of `ranks`; the first ranks have one more.
struct Share {
  int64_t first = 0, count = 0;
};
Share share_of(int64_t total, int ranks, int rank);

// What follows from model.json alone. Throws FC_ERROR_MODEL.
TransformerShape shape_of(const ModelPackage& package);

// How ranks share self-attention. In both each has a range of a chunk's tokens everywhere else.
enum class AttentionSplit {
  heads,  // a range of heads over all tokens: two exchanges a layer, and 1/ranks of the keys and values are kept
  rows  // its own tokens over all heads: one exchange a layer, and every rank keeps all keys and values
};

// "", "auto": heads if they divide by the ranks, else rows. Throws FC_ERROR_ARGUMENT for an unknown name, and for "heads"
// with more ranks than key heads.
AttentionSplit choose_attention_split(const std::string& name, const TransformerShape& shape, int ranks);
const char* name_of(AttentionSplit split);
// True: with "auto", of three GPUs or more the last one is to spare, because heads divide by all before it and not by all. It
// decodes chunks while the others compute the next one.
bool last_decodes(const std::string& attention, const TransformerShape& shape, int ranks);
// True: each of two ranks runs one of two guidance branches, whole. They exchange tokens only, a hundredth of what a split
// sends. Unless a split is named.
bool by_branch(const std::string& attention, int ranks, int branches);

// The heads of one pass that a rank has in attention.
struct HeadShare {
  Share heads, kv_heads;
};
// The part of all keys and values that a rank keeps, 0..1. Rank 0 keeps most.
double kv_share_of(const TransformerShape& shape, AttentionSplit split, int ranks, int rank);
HeadShare head_share(const TransformerShape& shape, AttentionSplit split, int ranks, int rank);

// What a rank gives to and takes from the others.
struct Traffic {
  uint64_t exchanges = 0, given = 0, taken = 0;  // calls; bytes
};
// One call of Transformer::blocks() on all layers, with every attention computed, on a chunk of `tokens` tokens. element:
// bytes of a number in queries, keys and values; token_element: of one in a token. passes: forward passes in the call. The
// tokens go from rank 0 to the others and back. queries: the KV policy looks at them, so that with `rows` every rank gets all.
Traffic traffic_of_blocks(const TransformerShape& shape, AttentionSplit split, int ranks, int rank,
                          int64_t tokens, int64_t element, int64_t token_element, int64_t passes = 1,
                          bool queries = false);

// Another way, which is not built (pipelines/SCALE.md says why): of as many chunks in flight as ranks, each rank runs one, whole,
// and in every layer a chunk's keys and values go to the ranks of younger chunks. Of the rank with the n-th oldest chunk, n =
// `rank`, in one tick, in which each chunk is computed. Every rank keeps all keys and values.
Traffic traffic_of_chunks(const TransformerShape& shape, int ranks, int rank, int64_t tokens, int64_t element,
                          int64_t token_element, int64_t passes = 1);
// How long a tick is, where a step of a chunk on one rank takes 1 and each of `chunks` in flight is computed with this
// probability, as caching decides; without exchanges. rows: every rank has rows of every chunk; else whole chunks, which
// wait for each other.
double length_of_tick(bool rows, int chunks, int ranks, double probability);

}  // namespace flowcache
