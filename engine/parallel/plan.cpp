// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/plan.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "families/family.h"
#include "families/preflight.h"

namespace flowcache {

Share share_of(int64_t total, int ranks, int rank) {
  const int64_t each = total / ranks, more = total % ranks;
  return {rank * each + std::min<int64_t>(rank, more), each + (rank < more)};
}

TransformerShape shape_of(const ModelPackage& package) {
  const KvShape keys = kv_shape(package);
  const nlohmann::json config = package.transformer.value("config", nlohmann::json::object());
  return {.layers = static_cast<int>(keys.layers),
          .dim = config.at("dim").get<int64_t>(),
          .heads = keys.heads,
          .kv_heads = keys.kv_heads,
          .head_dim = keys.head_dim,
          .head_sets = family_of(package).key_value_sets(config)};
}

AttentionSplit choose_attention_split(const std::string& name, const TransformerShape& shape, int ranks) {
  const int64_t heads = shape.kv_heads / shape.head_sets;
  if (name.empty() || name == "auto")
    return heads % ranks == 0 ? AttentionSplit::heads : AttentionSplit::rows;
  if (name == "rows") return AttentionSplit::rows;
  if (name != "heads")
    throw Error(FC_ERROR_ARGUMENT, "attention split \"" + name + "\" is unknown; use auto, heads or rows");
  if (heads < ranks)
    throw Error(FC_ERROR_ARGUMENT, "attention split \"heads\": the model has " + std::to_string(heads) +
                                       " key heads for " + std::to_string(ranks) +
                                       " devices: take fewer devices, or rows");
  return AttentionSplit::heads;
}

bool last_decodes(const std::string& attention, const TransformerShape& shape, int ranks) {
  const int64_t heads = shape.kv_heads / shape.head_sets;
  return (attention.empty() || attention == "auto") && ranks >= 3 && heads % ranks != 0 &&
         heads % (ranks - 1) == 0;
}

const char* name_of(AttentionSplit split) {
  return split == AttentionSplit::heads ? "heads" : "rows";
}

bool by_branch(const std::string& attention, int ranks, int branches) {
  return ranks == 2 && branches == 2 && (attention.empty() || attention == "auto");
}

HeadShare head_share(const TransformerShape& shape, AttentionSplit split, int ranks, int rank) {
  const int64_t heads = shape.heads / shape.head_sets, kv_heads = shape.kv_heads / shape.head_sets;
  if (split == AttentionSplit::rows) return {{0, heads}, {0, kv_heads}};
  const Share own = share_of(kv_heads, ranks, rank);
  const int64_t group = heads / kv_heads;
  return {{own.first * group, own.count * group}, own};
}

double kv_share_of(const TransformerShape& shape, AttentionSplit split, int ranks, int rank) {
  return static_cast<double>(head_share(shape, split, ranks, rank).kv_heads.count * shape.head_sets) /
         static_cast<double>(shape.kv_heads);
}

Traffic traffic_of_blocks(const TransformerShape& shape, AttentionSplit split, int ranks, int rank,
                          int64_t tokens, int64_t element, int64_t token_element, int64_t passes,
                          bool queries) {
  const int64_t heads = shape.heads / shape.head_sets, kv_heads = shape.kv_heads / shape.head_sets;
  const int64_t own = share_of(tokens, ranks, rank).count, others = tokens - own;
  const HeadShare mine = head_share(shape, split, ranks, rank);
  const int64_t with_queries = queries || split == AttentionSplit::heads;
  const int64_t my_numbers = with_queries * mine.heads.count + 2 * mine.kv_heads.count;
  const int64_t all_numbers = with_queries * heads + 2 * kv_heads;
  // Of one layer, in numbers of a head: before attention, and after it.
  int64_t given = 0, taken = others * my_numbers;
  if (split == AttentionSplit::heads) {
    given = own * (all_numbers - my_numbers) + others * mine.heads.count;
    taken += own * (heads - mine.heads.count);
  } else {
    given = own * all_numbers * (ranks - 1);
  }
  const auto layers = static_cast<uint64_t>(shape.layers) * passes;
  const auto number = static_cast<uint64_t>(shape.head_dim * element);
  // The tokens, to the others and back.
  const auto moved = static_cast<uint64_t>(passes * (rank == 0 ? others : own) * shape.dim * token_element);
  return {.exchanges = layers * (split == AttentionSplit::heads ? 2 : 1) + 2,
          .given = layers * given * number + moved,
          .taken = layers * taken * number + moved};
}

Traffic traffic_of_chunks(const TransformerShape& shape, int ranks, int rank, int64_t tokens, int64_t element,
                          int64_t token_element, int64_t passes) {
  const auto layers = static_cast<uint64_t>(shape.layers) * passes;
  const auto keys =
      static_cast<uint64_t>(2 * shape.kv_heads / shape.head_sets * shape.head_dim * element * tokens);
  const auto moved =
      static_cast<uint64_t>(passes * (rank == 0 ? ranks - 1 : 1) * tokens * shape.dim * token_element);
  return {.exchanges = layers + 2,
          .given = layers * keys * (ranks - 1 - rank) + moved,
          .taken = layers * keys * rank + moved};
}

// With whole chunks the length is that of the rank with most chunks to compute; a rank has every `ranks`-th.
double length_of_tick(bool rows, int chunks, int ranks, double probability) {
  if (rows) return probability * chunks / ranks;
  // At most n of so many are computed.
  const auto at_most = [&](int n, int of) {
    double sum = 0, ways = 1;
    for (int k = 0; k <= std::min(n, of); ++k) {
      sum += ways * std::pow(probability, k) * std::pow(1 - probability, of - k);
      ways = ways * (of - k) / (k + 1);
    }
    return sum;
  };
  double length = 0;
  for (int n = 0; n < chunks; ++n) {
    double all = 1;
    for (int rank = 0; rank < ranks; ++rank)
      all *= at_most(n, static_cast<int>(share_of(chunks, ranks, rank).count));
    length += 1 - all;
  }
  return length;
}

}  // namespace flowcache
