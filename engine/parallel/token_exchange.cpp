// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/token_exchange.h"

#include <array>
#include <vector>

namespace flowcache {
namespace {

// The tensor itself if it can take these sizes of this type, else a new one.
at::Tensor room_in(const at::Tensor& slots, at::IntArrayRef sizes, const at::TensorOptions& options) {
  const bool fits = slots.defined() && slots.sizes() == sizes && slots.dtype() == options.dtype();
  return fits ? slots : at::empty(sizes, options);
}

}  // namespace

TokenSplit::Attention TokenExchange::begin_attention(const at::Tensor& q, const KeyValue& own, KvView& view,
                                                     int layer) {
  const int ranks = exchange_.ranks(), me = exchange_.rank();
  const int64_t dim = shape_.head_dim, rows = rows_of(me).count;
  const HeadShare mine = head_share(shape_, split_, ranks, me);
  const bool with_queries = split_ == AttentionSplit::heads || view.looks_at_queries();
  std::vector<at::Tensor> parts;
  std::vector<int64_t> give, take;
  for (int rank = 0; rank < ranks; ++rank) {
    const HeadShare theirs = head_share(shape_, split_, ranks, rank);
    if (with_queries) parts.push_back(q.narrow(0, theirs.heads.first, theirs.heads.count).flatten());
    for (const at::Tensor* one : {&own.k, &own.v})
      parts.push_back(one->narrow(0, theirs.kv_heads.first, theirs.kv_heads.count).flatten());
    const auto numbers = [&](const HeadShare& share) {
      return (with_queries * share.heads.count + 2 * share.kv_heads.count) * dim;
    };
    give.push_back(numbers(theirs) * rows);
    take.push_back(numbers(mine) * rows_of(rank).count);
  }
  const at::Tensor got = exchange_.all_to_all(at::cat(parts), give, take);
  const std::array<int64_t, 3> key_sizes = {mine.kv_heads.count, tokens_, dim};
  const KeyValue slots = view.slots(layer);
  at::Tensor queries = with_queries ? at::empty({mine.heads.count, tokens_, dim}, q.options()) : q;
  at::Tensor k = room_in(slots.k, key_sizes, own.k.options()),
             v = room_in(slots.v, key_sizes, own.v.options());
  int64_t begin = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const Rows from = rows_of(rank);
    for (at::Tensor* one : {&queries, &k, &v}) {
      if (one == &queries && !with_queries) continue;
      const int64_t numbers = one->size(0) * from.count * dim;
      one->narrow(1, from.first, from.count)
          .copy_(got.narrow(0, begin, numbers).view({one->size(0), from.count, dim}));
      begin += numbers;
    }
  }
  return {split_ == AttentionSplit::heads ? queries : q, queries, {k, v}};
}

at::Tensor TokenExchange::end_attention(const at::Tensor& mixed) {
  if (split_ == AttentionSplit::rows) return mixed;
  const int ranks = exchange_.ranks(), me = exchange_.rank();
  const int64_t dim = shape_.head_dim, rows = rows_of(me).count;
  const int64_t width = head_share(shape_, split_, ranks, me).heads.count * dim;
  std::vector<int64_t> give, take;
  for (int rank = 0; rank < ranks; ++rank) {
    give.push_back(rows_of(rank).count * width);
    take.push_back(rows * head_share(shape_, split_, ranks, rank).heads.count * dim);
  }
  const at::Tensor got = exchange_.all_to_all(mixed.flatten(), give, take);
  std::vector<at::Tensor> columns;
  int64_t begin = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const int64_t numbers = take[static_cast<size_t>(rank)];
    const int64_t theirs = head_share(shape_, split_, ranks, rank).heads.count * dim;
    columns.push_back(got.narrow(0, begin, numbers).view({rows, theirs}));
    begin += numbers;
  }
  return at::cat(columns, 1);
}

at::Tensor TokenExchange::scatter(const at::Tensor& all, int64_t passes) {
  const int ranks = exchange_.ranks(), me = exchange_.rank();
  std::vector<at::Tensor> parts;
  std::vector<int64_t> give(static_cast<size_t>(ranks), 0), take(give);
  if (me == 0) {
    const at::Tensor by_pass = all.reshape({passes, tokens_, shape_.dim});
    for (int rank = 0; rank < ranks; ++rank) {
      const Rows theirs = rows_of(rank);
      parts.push_back(by_pass.narrow(1, theirs.first, theirs.count).flatten());
      give[static_cast<size_t>(rank)] = parts.back().numel();
    }
  }
  take[0] = passes * rows_of(me).count * shape_.dim;
  return exchange_.all_to_all(parts.empty() ? all.flatten() : at::cat(parts), give, take)
      .view({-1, shape_.dim});
}

at::Tensor TokenExchange::gather(const at::Tensor& own, int64_t passes) {
  const int ranks = exchange_.ranks(), me = exchange_.rank();
  std::vector<int64_t> give(static_cast<size_t>(ranks), 0), take(give);
  give[0] = own.numel();
  if (me == 0)
    for (int rank = 0; rank < ranks; ++rank)
      take[static_cast<size_t>(rank)] = passes * rows_of(rank).count * shape_.dim;
  const at::Tensor got = exchange_.all_to_all(own.flatten(), give, take);
  if (me != 0) return {};
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (const int64_t numbers : take) {
    parts.push_back(got.narrow(0, begin, numbers).view({passes, -1, shape_.dim}));
    begin += numbers;
  }
  return at::cat(parts, 1).view({passes * tokens_, shape_.dim});
}

}  // namespace flowcache
