// SPDX-License-Identifier: LGPL-2.1-or-later
// In place of kernels/, whose code for each processor clang takes minutes to compile: none is called before there are weights.
#include "cpu_isa.h"
#include "flash_attention.h"
#include "fuzz.h"
#include "norm_modulate.h"
#include "place_pixels.h"
#include "relative_l1.h"
#include "rms_norm_rope.h"
#include "simd/products.h"

namespace flowcache {
namespace {

[[noreturn]] void called() {
  fuzz::broken("no kernel is called", __FILE__, __LINE__);
}

}  // namespace

CpuIsa allowed_isa() {
  return CpuIsa::baseline;
}
CpuIsa processor_isa() {
  return CpuIsa::baseline;
}
at::Tensor flash_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&) {
  called();
}
at::Tensor norm_modulate(const at::Tensor&, const at::Tensor&, const at::Tensor&, RowGroups, double,
                         at::ScalarType) {
  called();
}
void gated_add(at::Tensor&, const at::Tensor&, const at::Tensor&, RowGroups) {
  called();
}
at::Tensor place_phases(const at::Tensor&, bool) {
  called();
}
void place_patches(const at::Tensor&, int64_t, at::Tensor) {
  called();
}
double relative_l1(const at::Tensor&, const at::Tensor&) {
  called();
}
void rms_norm_rope(const at::Tensor&, const at::Tensor&, double, const at::Tensor&, const at::Tensor&,
                   int64_t, at::Tensor&) {
  called();
}

namespace simd {

NumberType fastest_bf16() {
  return NumberType::bf16_widened;
}
int64_t packed_bytes(const MatrixSize&) {
  called();
}
void pack(const MatrixSize&, const void*, void*) {
  called();
}
void multiply(const Product&) {
  called();
}
int64_t product_scratch(const MatrixSize&) {
  called();
}

}  // namespace simd
}  // namespace flowcache
