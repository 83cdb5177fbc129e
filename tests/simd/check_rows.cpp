// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>

#include "check.h"
#include "simd/rows.h"

namespace check {
namespace {

using namespace flowcache::simd;

struct Row {
  std::vector<float> x, y, a, b, out;
  std::vector<uint16_t> x16, out16;
  std::vector<double> want;
  Distance distance, wanted_distance;
};

std::shared_ptr<Row> row(int64_t n) {
  auto r = std::make_shared<Row>();
  r->x = numbers(n, 3, 1), r->y = numbers(n, 1, 2), r->a = numbers(n, 1, 3), r->b = numbers(n, 1, 4);
  for (float& x : r->x) x += 1;
  r->out.resize(static_cast<size_t>(n));
  r->out16.resize(static_cast<size_t>(n));
  r->want.resize(static_cast<size_t>(n));
  return r;
}

void add(std::vector<Case>& cases, const std::string& name, int64_t n, const std::shared_ptr<Row>& r,
         std::function<void(Row&)> run, std::function<double(Row&)> error) {
  cases.push_back({.name = name + " of " + std::to_string(n),
                   .run = [r, run] { run(*r); },
                   .error = [r, error] { return error(*r); },
                   .values = static_cast<double>(n)});
}

double worst_out(Row& r) {
  return worst(r.out, r.want, 4e-6, 4e-6);
}

void add_norms(std::vector<Case>& cases, int64_t n) {
  constexpr double eps = 1e-6;
  auto r = row(n);
  double mean = 0, variance = 0, square = 0;
  for (const float x : r->x) mean += x / static_cast<double>(n), square += static_cast<double>(x) * x / n;
  for (const float x : r->x) variance += (x - mean) * (x - mean) / static_cast<double>(n);
  auto rms = row(n);
  for (int64_t i = 0; i < n; ++i) {
    r->want[i] = (r->x[i] - mean) / std::sqrt(variance + eps) * r->a[i] + r->b[i];
    rms->want[i] = rms->x[i] / std::sqrt(square + eps) * rms->a[i];
  }
  add(
      cases, "layer norm", n, r,
      [n](Row& at) { normalise_row(at.x.data(), at.a.data(), at.b.data(), n, eps, at.out.data()); },
      worst_out);
  add(
      cases, "RMS norm", n, rms,
      [n](Row& at) { rms_normalise_row(at.x.data(), at.a.data(), n, eps, at.out.data()); }, worst_out);
}

void add_rotation(std::vector<Case>& cases, int64_t pairs) {
  auto r = row(2 * pairs);
  for (int64_t i = 0; i < pairs; ++i) {
    const double even = r->x[2 * i], odd = r->x[2 * i + 1], c = r->a[i], s = r->b[i];
    r->want[2 * i] = even * c - odd * s;
    r->want[2 * i + 1] = even * s + odd * c;
  }
  add(
      cases, "rotary positions", 2 * pairs, r,
      [pairs](Row& at) { rotate_row(at.x.data(), at.a.data(), at.b.data(), pairs, at.out.data()); },
      [](Row& at) { return worst(at.out, at.want, 2e-6, 0); });
}

void add_sums(std::vector<Case>& cases, int64_t n) {
  for (const bool gated : {false, true})
    for (const bool bf16 : {false, true}) {
      auto r = row(n);
      r->x16 = to_bf16(r->y);
      if (bf16) r->y = from_bf16(r->x16);
      for (int64_t i = 0; i < n; ++i)
        r->want[i] = r->x[i] + static_cast<double>(r->y[i]) * (gated ? r->a[i] : 1.f);
      add(
          cases, std::string(gated ? "gated sum" : "sum") + (bf16 ? " with bf16" : ""), n, r,
          [n, gated, bf16](Row& at) {
            at.out = at.x;
            const float* gate = gated ? at.a.data() : nullptr;
            bf16 ? add_bf16_row(at.out.data(), at.x16.data(), gate, n)
                 : add_row(at.out.data(), at.y.data(), gate, n);
          },
          [](Row& at) { return worst(at.out, at.want, 1e-6, 1e-6); });
    }
}

void add_bf16(std::vector<Case>& cases, int64_t n) {
  auto r = row(n);
  r->x[0] = NAN;
  if (n > 4) r->x[1] = 1.00390625f, r->x[2] = 1.01171875f, r->x[3] = -HUGE_VALF;  // two ties and an end
  r->x16 = to_bf16(r->x);
  for (int64_t i = 0; i < n; ++i) r->want[i] = from_bf16(r->x16[i]);
  add(
      cases, "fp32 to bf16", n, r, [n](Row& at) { narrow_row(at.x.data(), n, at.out16.data()); },
      [](Row& at) { return worst(from_bf16(at.out16), at.want, 0, 0); });
  add(
      cases, "bf16 to fp32", n, r, [n](Row& at) { widen_row(at.x16.data(), n, at.out.data()); },
      [](Row& at) { return worst(at.out, at.want, 0, 0); });
}

// Not near: the same whatever the instruction set, as policies decide by it.
void add_distance(std::vector<Case>& cases, int64_t n) {
  auto r = row(n);
  double lanes[2][8] = {};
  const int64_t whole = n / 8 * 8;
  for (int64_t i = 0; i < whole; ++i) {
    lanes[0][i % 8] += static_cast<double>(std::fabs(r->x[i] - r->y[i]));
    lanes[1][i % 8] += static_cast<double>(std::fabs(r->y[i]));
  }
  for (int lane = 0; lane < 8; ++lane)
    r->wanted_distance.difference += lanes[0][lane], r->wanted_distance.magnitude += lanes[1][lane];
  for (int64_t i = whole; i < n; ++i) {
    r->wanted_distance.difference += std::fabs(r->x[i] - r->y[i]);
    r->wanted_distance.magnitude += std::fabs(r->y[i]);
  }
  add(
      cases, "distance", n, r, [n](Row& at) { at.distance = distance(at.x.data(), at.y.data(), n); },
      [](Row& at) {
        return at.distance.difference == at.wanted_distance.difference &&
                       at.distance.magnitude == at.wanted_distance.magnitude
                   ? 0
                   : HUGE_VAL;
      });
}

}  // namespace

void add_rows(std::vector<Case>& cases) {
  for (const int64_t n : {1, 5, 64, 192, 203, 1536}) {
    add_norms(cases, n);
    add_sums(cases, n);
    add_bf16(cases, n);
    add_distance(cases, n);
  }
  for (const int64_t pairs : {1, 5, 32, 64, 67}) add_rotation(cases, pairs);
}

}  // namespace check
