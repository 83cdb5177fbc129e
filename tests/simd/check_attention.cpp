// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdlib>
#include <memory>

#include "check.h"
#include "simd/attention.h"

namespace check {
namespace {

using flowcache::simd::AttentionHead;
using flowcache::simd::NumberType;

struct AttentionShape {
  const char* what;
  int64_t rows, keys, dim, gap;  // gap: values between the rows of q, k and v
  float scale;                   // of queries
};

// What the network would compute, in double.
std::vector<double> formula(const AttentionShape& s, const std::vector<float>& q, const std::vector<float>& k,
                            const std::vector<float>& v) {
  const int64_t stride = s.dim + s.gap;
  std::vector<double> out, weight(static_cast<size_t>(s.keys));
  for (int64_t r = 0; r < s.rows; ++r) {
    double most = -HUGE_VAL, total = 0;
    for (int64_t j = 0; j < s.keys; ++j) {
      double score = 0;
      for (int64_t i = 0; i < s.dim; ++i) score += static_cast<double>(q[r * stride + i]) * k[j * stride + i];
      weight[j] = score / std::sqrt(static_cast<double>(s.dim));
      most = std::fmax(most, weight[j]);
    }
    for (double& w : weight) total += w = std::exp(w - most);
    for (int64_t i = 0; i < s.dim; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < s.keys; ++j) sum += weight[j] * v[j * stride + i];
      out.push_back(sum / total);
    }
  }
  return out;
}

struct AttentionInputs {
  AttentionShape shape;
  std::vector<float> q, k, v, out;
  std::vector<uint16_t> q16, k16, v16, out16;
  std::vector<double> want;
  float* scratch = nullptr;
  ~AttentionInputs() { std::free(scratch); }
};

std::shared_ptr<AttentionInputs> inputs(const AttentionShape& s, bool bf16) {
  auto in = std::make_shared<AttentionInputs>();
  const int64_t stride = s.dim + s.gap;
  in->shape = s;
  in->q = numbers(s.rows * stride, s.scale, 1);
  in->k = numbers(s.keys * stride, 1, 2);
  in->v = numbers(s.keys * stride, 1, 3);
  if (bf16) {
    in->q16 = to_bf16(in->q), in->k16 = to_bf16(in->k), in->v16 = to_bf16(in->v);
    in->q = from_bf16(in->q16), in->k = from_bf16(in->k16), in->v = from_bf16(in->v16);
    in->out16.resize(static_cast<size_t>(s.rows * s.dim));
  }
  in->out.resize(static_cast<size_t>(s.rows * s.dim));
  in->want = formula(s, in->q, in->k, in->v);
  return in;
}

void add(std::vector<Case>& cases, const std::shared_ptr<AttentionInputs>& in, NumberType type,
         const char* type_name) {
  const AttentionShape s = in->shape;
  const bool bf16 = type != NumberType::fp32;
  const auto run = [in, type, bf16] {
    const AttentionShape& shape = in->shape;
    const int64_t stride = shape.dim + shape.gap;
    // Each target needs its own amount. The guard behind it must survive.
    const auto floats = static_cast<size_t>(flowcache::simd::attention_scratch(shape.rows, shape.dim));
    std::free(in->scratch);
    in->scratch = static_cast<float*>(std::aligned_alloc(256, (floats * sizeof(float) + 511) / 256 * 256));
    in->scratch[floats] = 4711;
    flowcache::simd::attention_head({.q = bf16 ? static_cast<const void*>(in->q16.data()) : in->q.data(),
                                     .k = bf16 ? static_cast<const void*>(in->k16.data()) : in->k.data(),
                                     .v = bf16 ? static_cast<const void*>(in->v16.data()) : in->v.data(),
                                     .out = bf16 ? static_cast<void*>(in->out16.data()) : in->out.data(),
                                     .q_stride = stride,
                                     .k_stride = stride,
                                     .v_stride = stride,
                                     .out_stride = shape.dim,
                                     .rows = shape.rows,
                                     .keys = shape.keys,
                                     .dim = shape.dim},
                                    type, in->scratch);
    if (in->scratch[floats] != 4711)
      in->out.assign(in->out.size(), NAN), in->out16.assign(in->out16.size(), 0x7fc0);
  };
  // A weight is off by the rounding of its score, which grows with the score; bf16 rounds weights and results
  // to 2^-9 each.
  const double score = s.scale * std::sqrt(static_cast<double>(s.dim)) * 4;
  const double bound = bf16 ? 0.012 : 1e-6 + 2e-7 * score;
  cases.push_back({.name = std::string("attention ") + type_name + " " + std::to_string(s.rows) + " x " +
                           std::to_string(s.keys) + " x " + std::to_string(s.dim) + ", " + s.what,
                   .run = run,
                   .error =
                       [in, bf16, bound] {
                         return worst(bf16 ? from_bf16(in->out16) : in->out, in->want, bound,
                                      bf16 ? 0.008 : 1e-6);
                       },
                   .flops = 4.0 * static_cast<double>(s.rows * s.keys * s.dim),
                   .widest = type == NumberType::bf16_pairs || type == NumberType::bf16_tiles});
}

}  // namespace

void add_attention(std::vector<Case>& cases) {
  const auto add_each = [&cases](const AttentionShape& s, const auto& change) {
    const auto floats = inputs(s, false), bf16 = inputs(s, true);
    change(*floats), change(*bf16);
    add(cases, floats, NumberType::fp32, "fp32");
    add(cases, bf16, NumberType::bf16_widened, "bf16 in fp32");
    if (has_pairs()) add(cases, bf16, NumberType::bf16_pairs, "bf16 in pairs");
    if (has_tiles()) add(cases, bf16, NumberType::bf16_tiles, "bf16 in tiles");
  };
  for (const AttentionShape& s :
       std::vector<AttentionShape>{{"one of each", 1, 1, 16, 0, 1},
                                   {"odd", 45, 721, 64, 0, 1},
                                   {"short", 54, 12, 64, 0, 1},
                                   {"rows apart", 33, 101, 128, 18, 1},
                                   {"more rows than are held at once", 301, 97, 32, 0, 1},
                                   {"large scores", 20, 200, 64, 0, 60},
                                   {"a chunk of the ambient model", 54, 1728, 64, 0, 1},
                                   {"a chunk of Wan 1.3B", 64, 7650, 128, 0, 1}})
    add_each(s, [](AttentionInputs&) {});
  add_each({"a key that is NaN spoils every query", 7, 100, 32, 0, 1}, [](AttentionInputs& in) {
    in.k[50 * 32] = NAN;
    if (!in.k16.empty()) in.k16[50 * 32] = to_bf16(NAN);
    in.want.assign(in.want.size(), NAN);
  });
}

}  // namespace check
