// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "cuda_arguments.h"
#include "cuda_kernels.h"
#include "relative_l1.h"
#include "simd/rows.h"

namespace flowcache {
namespace {

// Each block is summed by one thread in a fixed order, and the blocks' sums are added in order. So the number
// of threads does not change the result.
constexpr int64_t block_size = 1 << 14;
simd::Distance sum_floats(const at::Tensor& cur, const at::Tensor& prev) {
  const at::Tensor a = cur.contiguous(), b = prev.contiguous();
  const int64_t n = a.numel(), blocks = (n + block_size - 1) / block_size;
  std::vector<simd::Distance> partial(blocks);
  at::parallel_for(0, blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t start = i * block_size;
      partial[i] = simd::distance(a.const_data_ptr<float>() + start, b.const_data_ptr<float>() + start,
                                  std::min(block_size, n - start));
    }
  });
  simd::Distance sums;
  for (const simd::Distance& one : partial) {
    sums.difference += one.difference;
    sums.magnitude += one.magnitude;
  }
  return sums;
}

simd::Distance sum_composite(const at::Tensor& cur, const at::Tensor& prev) {
  const at::Tensor a = cur.to(at::kDouble), b = prev.to(at::kDouble);
  const at::Tensor both = at::stack({(a - b).abs().sum(), b.abs().sum()}).cpu();
  return {both[0].item<double>(), both[1].item<double>()};
}

// Returns false if there is no GPU with kernels. Waits for the GPU.
bool sum_on_gpu(const at::Tensor& cur, const at::Tensor& prev, simd::Distance& sums) {
  const CudaCall cuda(cur);
  if (!cuda || (cur.scalar_type() != at::kFloat && cur.scalar_type() != at::kBFloat16)) return false;
  const at::Tensor a = cur.contiguous(), b = prev.contiguous();
  const at::Tensor out = at::empty({2 + 2 * FC_CUDA_L1_BLOCKS}, a.options().dtype(at::kDouble));
  const auto args = cuda_arguments::relative_l1(a, b, out);
  if (!cuda.ran(cuda->relative_l1(&args, cuda.stream()))) return false;
  const at::Tensor both = out.narrow(0, 0, 2).cpu();
  sums = {both[0].item<double>(), both[1].item<double>()};
  return true;
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
  simd::Distance sums;
  if (cur.device().is_cpu() && cur.scalar_type() == at::kFloat)
    sums = sum_floats(cur, prev);
  else if (cur.device().is_cpu() && at::isReducedFloatingType(cur.scalar_type()))
    sums = sum_floats(cur.to(at::kFloat), prev.to(at::kFloat));  // exact widening
  else if (!sum_on_gpu(cur, prev, sums))
    sums = sum_composite(cur, prev);
  if (sums.magnitude == 0) return sums.difference == 0 ? 0.0 : std::numeric_limits<double>::infinity();
  return sums.difference / sums.magnitude;
}

}  // namespace flowcache
