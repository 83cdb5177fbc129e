// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>

#include "check.h"
#include "simd/pixels.h"

namespace check {
namespace {

using namespace flowcache::simd;

struct Picture {
  std::vector<float> in, out;
  std::vector<uint16_t> in16, out16;
  std::vector<uint8_t> bytes;
  std::vector<double> want;
};

void add(std::vector<Case>& cases, const std::string& name, const std::shared_ptr<Picture>& p, double values,
         std::function<void(Picture&)> run, std::function<double(Picture&)> error) {
  cases.push_back({.name = name,
                   .run = [p, run] { run(*p); },
                   .error = [p, error] { return error(*p); },
                   .values = values});
}

void add_places(std::vector<Case>& cases, int64_t pixels, int64_t channels, bool relu) {
  const int64_t step = 4 * channels, size = pixels * 2 * channels;
  auto p = std::make_shared<Picture>();
  p->in16 = to_bf16(numbers(pixels * step, 1, 1));
  p->in16[0] = 0xffc0;  // -NaN
  p->in = from_bf16(p->in16);
  p->out.resize(static_cast<size_t>(size)), p->out16.resize(static_cast<size_t>(size));
  p->want.resize(static_cast<size_t>(size));
  for (int64_t q = 0; q < pixels; ++q)
    for (int64_t c = 0; c < channels; ++c) {
      const float x = p->in[q * step + c];
      p->want[q * 2 * channels + c] = relu && x < 0 ? 0 : x;
    }
  const std::string name =
      "places of " + std::to_string(pixels) + " x " + std::to_string(channels) + (relu ? ", rectified" : "");
  const auto values = static_cast<double>(pixels * channels);
  add(
      cases, name, p, values,
      [=](Picture& at) { place_row(at.in.data(), step, pixels, channels, relu, at.out.data()); },
      [](Picture& at) { return worst(at.out, at.want, 0, 0); });
  add(
      cases, name + ", bf16", p, values,
      [=](Picture& at) { place_row(at.in16.data(), step, pixels, channels, relu, at.out16.data()); },
      [](Picture& at) { return worst(from_bf16(at.out16), at.want, 0, 0); });
}

void add_spread(std::vector<Case>& cases, int64_t positions, int64_t patch) {
  const int64_t step = 3 * patch * patch;
  auto p = std::make_shared<Picture>();
  p->in16 = to_bf16(numbers(positions * step, 1, 2));
  p->in = from_bf16(p->in16);
  p->out.resize(static_cast<size_t>(positions * patch));
  for (int64_t q = 0; q < positions; ++q)
    for (int64_t j = 0; j < patch; ++j) p->want.push_back(p->in[q * step + j]);
  const std::string name = "patches of " + std::to_string(positions) + " x " + std::to_string(patch);
  const auto values = static_cast<double>(positions * patch);
  const auto error = [](Picture& at) { return worst(at.out, at.want, 0, 0); };
  add(
      cases, name, p, values,
      [=](Picture& at) { spread_row(at.in.data(), step, positions, patch, at.out.data()); }, error);
  add(
      cases, name + ", bf16", p, values,
      [=](Picture& at) { spread_row(at.in16.data(), step, positions, patch, at.out.data()); }, error);
}

double unit(float x) {
  return x > 0 ? std::fmin(x, 1.0) : 0;  // NaN is 0
}

// Nearest, with room for a tie that fp32 decides the other way.
double worst_byte(const Picture& p) {
  return worst(p.bytes, p.want, 0.5 + 2e-4, 0);
}

void add_colours(std::vector<Case>& cases, int64_t width) {
  std::vector<float> r = numbers(width, 0.6f, 3), g = numbers(width, 0.6f, 4), b = numbers(width, 0.6f, 5);
  for (auto* plane : {&r, &g, &b})
    for (float& x : *plane) x += 0.5f;
  r[0] = NAN;
  const std::string of = " of " + std::to_string(width);
  const auto values = static_cast<double>(width);

  auto rgba = std::make_shared<Picture>(), luma = std::make_shared<Picture>();
  rgba->bytes.resize(static_cast<size_t>(4 * width)), luma->bytes.resize(static_cast<size_t>(width));
  for (int64_t x = 0; x < width; ++x) {
    for (const auto* plane : {&r, &g, &b}) rgba->want.push_back(255 * unit((*plane)[x]));
    rgba->want.push_back(255);
    luma->want.push_back(16 + 219 * (0.2126 * unit(r[x]) + 0.7152 * unit(g[x]) + 0.0722 * unit(b[x])));
  }
  add(
      cases, "RGBA" + of, rgba, values,
      [=](Picture& at) {
        rgba_row({r.data(), g.data(), b.data()}, width, at.bytes.data());
      },
      worst_byte);
  add(
      cases, "luma" + of, luma, values,
      [=](Picture& at) {
        luma_row({r.data(), g.data(), b.data()}, width, at.bytes.data());
      },
      worst_byte);

  auto sum = std::make_shared<Picture>();
  sum->out.resize(static_cast<size_t>(width));
  for (int64_t x = 0; x < width; ++x) sum->want.push_back(unit(r[x]) + unit(g[x]));
  add(
      cases, "clamped sum" + of, sum, values,
      [=](Picture& at) { add_clamped_rows(r.data(), g.data(), width, at.out.data()); },
      [](Picture& at) { return worst(at.out, at.want, 1e-6, 0); });

  // Of sums of two equal rows, so that twice the picture goes in.
  std::vector<float> two[3];
  for (int c = 0; c < 3; ++c)
    for (int64_t x = 0; x < width; ++x)
      two[c].push_back(static_cast<float>(2 * unit((c == 0 ? r : c == 1 ? g : b)[x])));
  auto chroma = std::make_shared<Picture>();
  for (int64_t i = 0; i < (width + 1) / 2; ++i) {
    double mean[3];
    for (int c = 0; c < 3; ++c) {
      const auto at = [&](int64_t x) { return two[c][std::min(std::max<int64_t>(x, 0), width - 1)] / 2.0; };
      mean[c] = (at(2 * i - 1) + 2 * at(2 * i) + at(2 * i + 1)) / 4;
    }
    const double y = 0.2126 * mean[0] + 0.7152 * mean[1] + 0.0722 * mean[2];
    chroma->want.push_back(128 + 224 * (mean[2] - y) / 1.8556);
    chroma->want.push_back(128 + 224 * (mean[0] - y) / 1.5748);
  }
  chroma->bytes.resize(chroma->want.size());
  add(
      cases, "chroma" + of, chroma, values,
      [=](Picture& at) {
        chroma_row({two[0].data(), two[1].data(), two[2].data()}, width, at.bytes.data(), at.bytes.data() + 1,
                   2);
      },
      worst_byte);
}

void add_fades(std::vector<Case>& cases, int64_t width) {
  const std::vector<float> a = numbers(width, 1, 7), b = numbers(width, 1, 8), start = numbers(width, 1, 9);
  const std::string of = " of " + std::to_string(width);
  const auto values = static_cast<double>(width);
  auto change = std::make_shared<Picture>(), left = std::make_shared<Picture>(),
       mix = std::make_shared<Picture>();
  for (Picture* one : {change.get(), left.get(), mix.get()}) one->out.resize(static_cast<size_t>(width));
  for (int64_t x = 0; x < width; ++x) {
    change->want.push_back(start[x] + std::abs(double{a[x]} - b[x]));
    left->want.push_back(std::max(0., 1 - 3. * a[x]) * b[x]);
    mix->want.push_back(start[x] + a[x] * (double{b[x]} - start[x]));
  }
  const auto close = [](Picture& at) { return worst(at.out, at.want, 1e-6, 1e-6); };
  add(
      cases, "change" + of, change, values,
      [=](Picture& at) {
        at.out = start;
        add_change_row(a.data(), b.data(), width, at.out.data());
      },
      close);
  add(
      cases, "left" + of, left, values,
      [=](Picture& at) { left_row(a.data(), b.data(), 3, width, at.out.data()); }, close);
  add(
      cases, "mix" + of, mix, values,
      [=](Picture& at) {
        at.out = start;
        mix_row(b.data(), a.data(), width, at.out.data());
      },
      close);
}

}  // namespace

void add_pixels(std::vector<Case>& cases) {
  for (const bool relu : {false, true}) {
    add_places(cases, 3, 1, relu);
    add_places(cases, 64, 64, relu);
    add_places(cases, 5, 17, relu);
  }
  for (const int64_t patch : {1, 2, 3}) add_spread(cases, 128, patch);
  add_spread(cases, 7, 2);
  for (const int64_t width : {1, 2, 7, 37, 512}) add_colours(cases, width);
  for (const int64_t width : {1, 7, 37, 512}) add_fades(cases, width);
}

}  // namespace check
