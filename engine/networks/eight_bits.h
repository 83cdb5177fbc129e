// SPDX-License-Identifier: LGPL-2.1-or-later
// Numbers in 8 bits, e4m3 or int8, with a scale for each row, and products of them.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// at::kFloat8_e4m3fn or at::kChar.
bool is_eight_bits(at::ScalarType type);
// The largest number of such a type: 448 or 127. int8's -128 is not used, so that the range is symmetric.
double largest_of(at::ScalarType type);

// Whether the device multiplies matrices of such a type: an NVIDIA GPU with e4m3 from compute capability 8.9
// on, with int8 from 7.5 on. LibTorch's CUDA half is open by then. Any thread.
bool multiplies_eight_bits(at::Device device, at::ScalarType type);

// values times scale is the tensor, but for the rounding.
struct EightBits {
  at::Tensor values;  // [rows, n] of the type
  at::Tensor scale;   // [rows, 1] fp32; maps a row's largest value to the largest of the type
};
// x [rows, n] of any floating-point type. A row that is not finite gives a row that is not.
EightBits in_eight_bits(const at::Tensor& x, at::ScalarType type);

// x [rows, in], rounded to the weight's type row by row, times the weight, in x's type: [rows, out].
// weight [out, in] of 8 bits, scale [1, out] fp32, bias [out] of x's type or undefined. On NVIDIA GPUs x is
// bf16, and takes_product() holds; elsewhere the same sum is computed in fp32 from the same 8-bit numbers.
at::Tensor eight_bit_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale,
                             const at::Tensor& bias);
// Whether the device takes a product of these sizes: libraries ask for multiples of 8 (int8) or 16 (e4m3).
bool takes_product(const at::Tensor& x, const at::Tensor& weight);

}  // namespace flowcache
