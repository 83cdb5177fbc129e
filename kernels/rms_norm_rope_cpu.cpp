// SPDX-License-Identifier: LGPL-2.1-or-later
#include <vector>

#include "cuda_arguments.h"
#include "cuda_kernels.h"
#include "rms_norm_rope.h"
#include "simd/rows.h"

namespace flowcache {
namespace {

// The formula by LibTorch's operators, for other devices and types.
void composite(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& cos,
               const at::Tensor& sin, int64_t first_row, at::Tensor& out) {
  const int64_t heads = out.size(0), rows = x.size(0), dim = out.size(2);
  at::Tensor y = x.to(at::kFloat);
  if (weight.defined()) y = y * at::rsqrt(y.square().mean(-1, true) + eps) * weight;
  y = y.view({rows, heads, dim}).transpose(0, 1);
  if (cos.defined()) {
    const at::Tensor c = cos.narrow(0, first_row, rows), s = sin.narrow(0, first_row, rows);
    const at::Tensor pairs = y.unflatten(-1, {dim / 2, 2}), even = pairs.select(-1, 0),
                     odd = pairs.select(-1, 1);
    y = at::stack({even * c - odd * s, even * s + odd * c}, -1).flatten(-2);
  }
  out.narrow(1, first_row, rows).copy_(y);
}

// Returns false if there is no GPU with kernels.
bool rope_on_gpu(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& cos,
                 const at::Tensor& sin, int64_t first_row, at::Tensor& out) {
  const CudaCall cuda(x);
  if (!cuda || out.size(2) % 2 != 0 || (weight.defined() && weight.scalar_type() != at::kFloat)) return false;
  const auto args = cuda_arguments::rms_norm_rope(x, weight, eps, cos, sin, first_row, out);
  return cuda.ran(cuda->rms_norm_rope(&args, cuda.stream()));
}

}  // namespace

void rms_norm_rope(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& cos,
                   const at::Tensor& sin, int64_t first_row, at::Tensor& out) {
  const bool narrowed = x.scalar_type() == at::kBFloat16;
  const bool suits = has_plain_rows(x) && has_plain_rows(out) && out.scalar_type() == x.scalar_type();
  if (suits && rope_on_gpu(x, weight, eps, cos, sin, first_row, out)) return;
  if (!suits || !x.device().is_cpu()) return composite(x, weight, eps, cos, sin, first_row, out);
  const int64_t heads = out.size(0), dim = out.size(2), width = heads * dim;
  const int64_t element = x.element_size();
  std::vector<float> row(width), rotated(dim);
  auto* out_data = static_cast<std::byte*>(out.mutable_data_ptr());
  for (int64_t r = 0; r < x.size(0); ++r) {
    const auto* from = static_cast<const std::byte*>(x.const_data_ptr()) + r * x.stride(0) * element;
    const float* values = row.data();
    if (narrowed)
      simd::widen_row(reinterpret_cast<const uint16_t*>(from), width, row.data());
    else
      values = reinterpret_cast<const float*>(from);
    if (weight.defined()) {
      simd::rms_normalise_row(values, weight.const_data_ptr<float>(), width, static_cast<float>(eps),
                              row.data());
      values = row.data();
    }
    const int64_t token = first_row + r;
    for (int64_t head = 0; head < heads; ++head) {
      const float* part = values + head * dim;
      std::byte* to = out_data + (head * out.stride(0) + token * out.stride(1)) * element;
      if (cos.defined()) {
        float* turned = narrowed ? rotated.data() : reinterpret_cast<float*>(to);
        simd::rotate_row(part, cos.const_data_ptr<float>() + token * cos.stride(0),
                         sin.const_data_ptr<float>() + token * sin.stride(0), dim / 2, turned);
        part = turned;
      }
      if (narrowed)
        simd::narrow_row(part, dim, reinterpret_cast<uint16_t*>(to));
      else if (!cos.defined())
        std::memcpy(to, part, dim * element);
    }
  }
}

}  // namespace flowcache
