// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/eight_bits.h"

#include <dlfcn.h>

#include <limits>

namespace flowcache {
namespace {

// Ten times the compute capability of an NVIDIA GPU, such as 89. 0 if it is not known. LibTorch's headers ask
// for the CUDA toolkit here, so its runtime library is asked, which LibTorch's CUDA half has brought along.
int compute_capability(at::Device device) {
  constexpr int major_attribute = 75, minor_attribute = 76;  // cudaDevAttrComputeCapabilityMajor, …Minor
  using Function = int (*)(int*, int, int);
  const auto ask = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, "cudaDeviceGetAttribute"));
  const int index = device.has_index() ? device.index() : 0;
  int major = 0, minor = 0;
  if (!ask || ask(&major, major_attribute, index) != 0 || ask(&minor, minor_attribute, index) != 0) return 0;
  return 10 * major + minor;
}

// The same sum as the GPU's libraries make, of the same 8-bit numbers.
at::Tensor emulated(const EightBits& x, const at::Tensor& weight, const at::Tensor& scale) {
  return at::linear(x.values.to(at::kFloat), weight.to(at::kFloat)).mul_(x.scale).mul_(scale);
}

}  // namespace

bool is_eight_bits(at::ScalarType type) {
  return type == at::kFloat8_e4m3fn || type == at::kChar;
}

double largest_of(at::ScalarType type) {
  return type == at::kChar ? 127 : 448;
}

bool multiplies_eight_bits(at::Device device, at::ScalarType type) {
  constexpr int with_e4m3 = 89, with_int8 = 75;
  return device.is_cuda() && compute_capability(device) >= (type == at::kChar ? with_int8 : with_e4m3);
}

EightBits in_eight_bits(const at::Tensor& x, at::ScalarType type) {
  const at::Tensor largest = at::linalg_vector_norm(x, std::numeric_limits<double>::infinity(),
                                                    at::IntArrayRef{-1}, /*keepdim=*/true, at::kFloat);
  const at::Tensor scale = largest.mul_(1 / largest_of(type)).clamp_min_(1e-30);
  if (type == at::kChar) return {at::div(x, scale).round_().to(type), scale};
  at::Tensor values = at::empty(x.sizes(), x.options().dtype(type));
  at::div_out(values, x, scale);  // rounds as it writes: one kernel
  return {values, scale};
}

bool takes_product(const at::Tensor& x, const at::Tensor& weight) {
  if (!x.is_cuda()) return true;
  const bool whole_numbers = weight.scalar_type() == at::kChar;
  const int64_t multiple = whole_numbers ? 8 : 16, fewest_rows = whole_numbers ? 17 : 1;
  return x.scalar_type() == at::kBFloat16 && x.size(0) >= fewest_rows && weight.size(0) % multiple == 0 &&
         weight.size(1) % multiple == 0;
}

at::Tensor eight_bit_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale,
                             const at::Tensor& bias) {
  const EightBits rows = in_eight_bits(x, weight.scalar_type());
  if (!x.is_cuda()) {
    const at::Tensor y = emulated(rows, weight, scale);
    return (bias.defined() ? y.add_(bias) : y).to(x.scalar_type());
  }
  if (weight.scalar_type() == at::kFloat8_e4m3fn) {
    const std::optional<at::Tensor> offset = bias.defined() ? std::optional(bias) : std::nullopt;
    return at::_scaled_mm(rows.values, weight.t(), rows.scale, scale, offset, /*scale_result=*/{},
                          at::kBFloat16, /*use_fast_accum=*/true);
  }
  const at::Tensor sums = at::_int_mm(rows.values, weight.t()).mul(rows.scale);
  at::Tensor y = at::empty(sums.sizes(), x.options());
  return bias.defined() ? at::addcmul_out(y, bias, sums, scale) : at::mul_out(y, sums, scale);
}

}  // namespace flowcache
