// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "error.h"
#include "relative_l1.h"
#include "vectorise.h"

namespace flowcache {
namespace {

struct Sums {
  double difference = 0, magnitude = 0;
};

// One block is summed by one thread in a fixed order, and blocks are added in order: the thread count has no
// say.
constexpr int64_t block_size = 1 << 14;
using Doubles = double __attribute__((vector_size(8 * sizeof(double))));
using Floats8 = float __attribute__((vector_size(8 * sizeof(float))));

FC_VECTORISED Sums sum_block(const float* cur, const float* prev, int64_t n) {
  constexpr int64_t width = 8;
  Doubles difference = {}, magnitude = {};
  int64_t i = 0;
  for (; i + width <= n; i += width) {
    Floats8 a, b;
    std::memcpy(&a, cur + i, sizeof a);
    std::memcpy(&b, prev + i, sizeof b);
    const Floats8 apart = a - b;
    difference += __builtin_convertvector(apart < 0 ? -apart : apart, Doubles);
    magnitude += __builtin_convertvector(b < 0 ? -b : b, Doubles);
  }
  Sums sums;
  for (int lane = 0; lane < width; ++lane) {
    sums.difference += difference[lane];
    sums.magnitude += magnitude[lane];
  }
  for (; i < n; ++i) {
    sums.difference += std::fabs(cur[i] - prev[i]);
    sums.magnitude += std::fabs(prev[i]);
  }
  return sums;
}

Sums sum_floats(const at::Tensor& cur, const at::Tensor& prev) {
  const at::Tensor a = cur.contiguous(), b = prev.contiguous();
  const int64_t n = a.numel(), blocks = (n + block_size - 1) / block_size;
  std::vector<Sums> partial(blocks);
  at::parallel_for(0, blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t start = i * block_size;
      partial[i] = sum_block(a.const_data_ptr<float>() + start, b.const_data_ptr<float>() + start,
                             std::min(block_size, n - start));
    }
  });
  Sums sums;
  for (const Sums& one : partial) {
    sums.difference += one.difference;
    sums.magnitude += one.magnitude;
  }
  return sums;
}

Sums sum_composite(const at::Tensor& cur, const at::Tensor& prev) {
  const at::Tensor a = cur.to(at::kDouble), b = prev.to(at::kDouble);
  const at::Tensor both = at::stack({(a - b).abs().sum(), b.abs().sum()}).cpu();
  return {both[0].item<double>(), both[1].item<double>()};
}

}  // namespace

double relative_l1(const at::Tensor& cur, const at::Tensor& prev) {
  if (!cur.defined() || !prev.defined() || cur.sizes() != prev.sizes() ||
      cur.scalar_type() != prev.scalar_type() || cur.device() != prev.device() || cur.numel() == 0) {
    std::ostringstream why;
    why << "relative_l1 compares features of one shape and type, got ";
    for (const at::Tensor* t : {&cur, &prev})
      if (t->defined())
        why << t->scalar_type() << t->sizes() << (t == &cur ? " and " : "");
      else
        why << "nothing" << (t == &cur ? " and " : "");
    throw Error(FC_ERROR_INTERNAL, why.str());
  }
  Sums sums;
  if (cur.device().is_cpu() && cur.scalar_type() == at::kFloat)
    sums = sum_floats(cur, prev);
  else if (cur.device().is_cpu() && at::isReducedFloatingType(cur.scalar_type()))
    sums = sum_floats(cur.to(at::kFloat), prev.to(at::kFloat));  // exact widening
  else
    sums = sum_composite(cur, prev);
  if (sums.magnitude == 0) return sums.difference == 0 ? 0.0 : std::numeric_limits<double>::infinity();
  return sums.difference / sums.magnitude;
}

}  // namespace flowcache
