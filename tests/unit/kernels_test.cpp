// SPDX-License-Identifier: LGPL-2.1-or-later
// Every kernel compared with its plain formula, for shapes that fill a vector and shapes that do not.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "color_convert.h"
#include "fade.h"
#include "flash_attention.h"
#include "norm_modulate.h"
#include "place_pixels.h"
#include "relative_l1.h"
#include "rms_norm_rope.h"

namespace flowcache {
namespace {

double largest(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class Types : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(7); }
  // Half an ulp of bf16 at values around 8, or the noise of fp32 sums.
  double bound() const { return GetParam() == at::kFloat ? 2e-5 : 0.04; }
};
// fp16 has no kernel of its own on the CPU. It uses the formulas that are used on other devices.
INSTANTIATE_TEST_SUITE_P(Kernels, Types, testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

TEST(RelativeL1, IsTheRatioOfMeans) {
  at::manual_seed(1);
  for (const int64_t n : {1, 7, 16, 1000, 16384, 100001}) {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      const at::Tensor a = at::randn({n}).to(type), b = at::randn({n}).to(type);
      const at::Tensor wa = a.to(at::kDouble), wb = b.to(at::kDouble);
      const double want = ((wa - wb).abs().sum() / wb.abs().sum()).item<double>();
      EXPECT_NEAR(relative_l1(a, b), want, 1e-6 * want) << n << " of " << type;
    }
  }
}

TEST(RelativeL1, DoesNotDependOnThreads) {
  at::manual_seed(2);
  const at::Tensor a = at::randn({300, 777}), b = at::randn({300, 777});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const double one = relative_l1(a, b);
  at::set_num_threads(3);
  EXPECT_EQ(relative_l1(a, b), one);
  at::set_num_threads(before);
}

TEST(RelativeL1, EdgesAreDefined) {
  const at::Tensor zero = at::zeros({40}), one = at::ones({40});
  EXPECT_EQ(relative_l1(zero, zero), 0);
  EXPECT_TRUE(std::isinf(relative_l1(one, zero)));
  EXPECT_TRUE(std::isnan(relative_l1(one * NAN, one)));
  EXPECT_EQ(relative_l1(one.view({8, 5}).t(), one.view({8, 5}).t()), 0);
  EXPECT_THROW(relative_l1(one, at::ones({41})), Error);
  EXPECT_THROW(relative_l1(one, one.to(at::kDouble)), Error);
  EXPECT_THROW(relative_l1(at::Tensor(), one), Error);
}

TEST_P(Types, NormModulateIsTheFormula) {
  for (const int64_t dim : {5, 16, 64, 192, 200}) {
    for (const int64_t groups : {1, 3}) {
      const at::Tensor x = at::randn({12, dim}) * 3 + 1, m = at::randn({groups, dim}),
                       o = at::randn({groups, dim});
      const RowGroups map{groups == 1 ? 0 : 6, groups == 1 ? INT64_MAX : 6};  // rows 6..17: groups 1 and 2
      const at::Tensor mean = x.mean(1, true), variance = x.var(1, false, true);
      const at::Tensor want =
          (x - mean) / at::sqrt(variance + 1e-6) *
              (groups == 1 ? m : at::cat({m[1].expand({6, dim}), m[2].expand({6, dim})})) +
          (groups == 1 ? o : at::cat({o[1].expand({6, dim}), o[2].expand({6, dim})}));
      const at::Tensor got = norm_modulate(x, m, o, map, 1e-6, GetParam());
      EXPECT_EQ(got.scalar_type(), GetParam());
      EXPECT_LE(largest(got, want), bound()) << dim << " wide, " << groups << " groups";
    }
  }
}

TEST_P(Types, GatedAddIsTheFormula) {
  for (const int64_t dim : {5, 16, 200}) {
    const at::Tensor x = at::randn({12, dim}), y = at::randn({12, dim}).to(GetParam()),
                     gate = at::randn({2, dim});
    at::Tensor got = x.clone();
    gated_add(got, y, gate, {6, 12});  // rows 6..17: groups 0 and 1
    const at::Tensor want =
        x + y.to(at::kFloat) * at::cat({gate[0].expand({6, dim}), gate[1].expand({6, dim})});
    EXPECT_LE(largest(got, want), 1e-6);
    got = x.clone();
    gated_add(got, y, {}, {});
    EXPECT_LE(largest(got, x + y.to(at::kFloat)), 1e-6);
  }
}

TEST_P(Types, RmsNormRopeIsTheFormula) {
  const int64_t rows = 9, first = 4;
  for (const auto& [heads, dim] : {std::pair<int64_t, int64_t>{1, 6}, {3, 64}, {2, 128}}) {
    const at::Tensor wide = at::randn({rows, 3 * heads * dim}).to(GetParam());
    const at::Tensor x =
        wide.narrow(1, heads * dim, heads * dim);  // rows with a stride, as in a fused projection
    const at::Tensor weight = at::rand({heads * dim}) + 0.5, angle = at::randn({rows + first, dim / 2});
    at::Tensor got = at::full({heads, rows + first, dim}, 99, x.options());
    rms_norm_rope(x, weight, 1e-6, at::cos(angle), at::sin(angle), first, got);
    EXPECT_EQ(got.narrow(1, 0, first).to(at::kFloat).min().item<float>(), 99)
        << "wrote rows that are not its own";

    const at::Tensor f = x.to(at::kDouble);
    const at::Tensor y =
        (f / at::sqrt(f.square().mean(1, true) + 1e-6) * weight).view({rows, heads, dim / 2, 2});
    const at::Tensor turned = at::view_as_complex(y.contiguous()) *
                              at::polar(at::ones_like(angle), angle).narrow(0, first, rows).unsqueeze(1);
    const at::Tensor want = at::view_as_real(turned).flatten(2).transpose(0, 1);
    EXPECT_LE(largest(got.narrow(1, first, rows), want), bound());

    at::Tensor plain = at::empty({heads, rows, dim}, x.options());
    rms_norm_rope(x, {}, 0, {}, {}, 0, plain);
    EXPECT_EQ(largest(plain, x.reshape({rows, heads, dim}).transpose(0, 1)), 0);
  }
}

TEST_P(Types, AttentionIsTheFormula) {
  for (const auto& [rows, keys, dim] :
       {std::array<int64_t, 3>{1, 1, 16}, {45, 720, 64}, {7, 12, 64}, {33, 101, 128}, {5, 9, 20}}) {
    const at::Tensor q = at::randn({3, rows + 2, dim}).to(GetParam()).narrow(1, 1, rows);
    const at::Tensor k =
        at::randn({3, keys + 5, dim}).to(GetParam()).narrow(1, 0, keys);  // a view into a larger cache
    const at::Tensor v = at::randn({3, keys + 5, dim}).to(GetParam()).narrow(1, 0, keys);
    const at::Tensor scores =
        q.to(at::kDouble).matmul(k.to(at::kDouble).transpose(1, 2)) / std::sqrt(static_cast<double>(dim));
    const at::Tensor want = at::softmax(scores, -1).matmul(v.to(at::kDouble)).transpose(0, 1).flatten(1);
    const at::Tensor got = flash_attention(q, k, v);
    EXPECT_EQ(got.sizes(), want.sizes());
    EXPECT_LE(largest(got, want), GetParam() == at::kFloat ? 5e-6 : 0.02)
        << rows << " x " << keys << " x " << dim;
  }
}

TEST_P(Types, AttentionSurvivesLargeScores) {
  const at::Tensor q = (at::randn({1, 20, 64}) * 60).to(GetParam()),
                   k = at::randn({1, 200, 64}).to(GetParam());
  const at::Tensor v = at::randn({1, 200, 64}).to(GetParam());
  const at::Tensor scores = q.to(at::kDouble).matmul(k.to(at::kDouble).transpose(1, 2)) / 8;
  const at::Tensor want = at::softmax(scores, -1).matmul(v.to(at::kDouble)).squeeze(0);
  EXPECT_LE(largest(flash_attention(q, k, v), want), GetParam() == at::kFloat ? 2e-4 : 0.05);
}

// ---- colour
// ----------------------------------------------------------------------------------------------------------

struct Image {
  int64_t width, height;
  uint32_t padding;  // bytes after each row
  std::vector<uint8_t> bytes[3];
  fc_planes planes{.size = sizeof(fc_planes)};

  Image(fc_format format, int64_t width, int64_t height, uint32_t padding)
      : width(width), height(height), padding(padding) {
    planes.format = format;
    const uint32_t w = static_cast<uint32_t>(width), c = (w + 1) / 2;
    const uint32_t rows[3][3] = {{4 * w, 0, 0}, {w, 2 * c, 0}, {w, c, c}};
    for (int i = 0; i < 3; ++i) {
      if (rows[format][i] == 0) continue;
      planes.stride[i] = rows[format][i] + padding;
      bytes[i].assign(planes.stride[i] * static_cast<size_t>(i == 0 ? height : (height + 1) / 2), 77);
      planes.plane[i] = bytes[i].data();
    }
  }
  uint8_t at(int plane, int64_t y, int64_t x) const { return bytes[plane][y * planes.stride[plane] + x]; }
};

// R'G'B' at a pixel, edges repeated, in double.
struct Reference {
  at::Tensor frame;
  double rgb(int c, int64_t y, int64_t x) const {
    y = std::clamp<int64_t>(y, 0, frame.size(1) - 1);
    x = std::clamp<int64_t>(x, 0, frame.size(2) - 1);
    return std::clamp(static_cast<double>(frame[c][y][x].item<float>()), 0.0, 1.0);
  }
  static double luma(double r, double g, double b) { return 0.2126 * r + 0.7152 * g + 0.0722 * b; }
  double y(int64_t row, int64_t column) const {
    return 16 + 219 * luma(rgb(0, row, column), rgb(1, row, column), rgb(2, row, column));
  }
  // Blue or red difference at chroma sample (row, column): left-sited.
  double chroma(int of, int64_t row, int64_t column) const {
    double mean[3];
    for (int c = 0; c < 3; ++c) {
      mean[c] = 0;
      for (const int64_t dy : {0, 1})
        for (const int64_t dx : {-1, 0, 1}) {
          const int64_t line = std::min(2 * row + dy, frame.size(1) - 1);
          mean[c] += rgb(c, line, 2 * column + dx) * (dx == 0 ? 2 : 1) / 8;
        }
    }
    const double y = luma(mean[0], mean[1], mean[2]);
    return 128 + 224 * (of == 2 ? (mean[2] - y) / 1.8556 : (mean[0] - y) / 1.5748);
  }
};

// Expects the nearest value. A small tolerance allows for ties that float arithmetic decides the other way.
void expect_rounded(uint8_t got, double exact, const std::string& where) {
  EXPECT_LE(std::fabs(got - exact), 0.5 + 2e-4) << where;
}

class Colour : public testing::TestWithParam<std::tuple<int, int, int>> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Colour,
                         testing::Combine(testing::Values(1, 2, 7, 32, 37), testing::Values(1, 2, 5, 18),
                                          testing::Values(0, 3)));

TEST_P(Colour, IsTheFormula) {
  const auto [width, height, padding] = GetParam();
  at::manual_seed(width * 100 + height);
  const Reference want{at::rand({3, height, width}) * 1.2 - 0.1};  // some of it out of range
  Image rgba(FC_FORMAT_RGBA, width, height, padding), nv12(FC_FORMAT_NV12, width, height, padding),
      i420(FC_FORMAT_I420, width, height, padding);
  for (Image* image : {&rgba, &nv12, &i420}) color_convert(want.frame, image->planes);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const std::string where = std::to_string(x) + ", " + std::to_string(y);
      for (int c = 0; c < 3; ++c) expect_rounded(rgba.at(0, y, 4 * x + c), 255 * want.rgb(c, y, x), where);
      EXPECT_EQ(rgba.at(0, y, 4 * x + 3), 255);
      expect_rounded(nv12.at(0, y, x), want.y(y, x), where);
      EXPECT_EQ(i420.at(0, y, x), nv12.at(0, y, x));
    }
  for (int64_t y = 0; y < (height + 1) / 2; ++y)
    for (int64_t x = 0; x < (width + 1) / 2; ++x)
      for (const int c : {1, 2}) {
        expect_rounded(i420.at(c, y, x), want.chroma(c == 1 ? 2 : 0, y, x), "chroma");
        EXPECT_EQ(i420.at(c, y, x), nv12.at(1, y, 2 * x + c - 1));
      }
  for (const Image* image : {&rgba, &nv12, &i420})
    for (int i = 0; i < 3; ++i)
      for (size_t byte = 0; byte < image->bytes[i].size(); ++byte)
        if (byte % image->planes.stride[i] >= image->planes.stride[i] - image->padding) {
          EXPECT_EQ(image->bytes[i][byte], 77);
        }
}

// What was written is read again: exactly to the nearest level as RGBA; as YUV wherever the colours are even, because chroma
// has a quarter of the samples.
TEST_P(Colour, IsReadBack) {
  const auto [width, height, padding] = GetParam();
  at::manual_seed(width * 100 + height);
  const at::Tensor frame = at::rand({3, height, width}), back = at::empty({3, height, width});
  Image rgba(FC_FORMAT_RGBA, width, height, padding);
  color_convert(frame, rgba.planes);
  color_read(rgba.planes, back);
  EXPECT_TRUE(back.equal((frame * 255).round() / 255));
  // A smooth picture, whose chroma hardly differs between neighbours.
  const at::Tensor x = at::linspace(0, 1, width), y = at::linspace(0, 1, height).view({height, 1});
  const at::Tensor smooth = at::stack({(0.2 + 0.01 * x + 0.02 * y).expand({height, width}),
                                       (0.5 + 0.02 * x * y).expand({height, width}),
                                       (0.8 - 0.02 * y + 0 * x).expand({height, width})})
                                .contiguous();
  for (const fc_format format : {FC_FORMAT_NV12, FC_FORMAT_I420}) {
    Image image(format, width, height, padding);
    color_convert(smooth, image.planes);
    color_read(image.planes, back);
    EXPECT_LT((back - smooth).abs().max().item<double>(), 0.03) << format;
  }
}

// Chroma lies on even columns between two rows: a pixel's is a mean of the four samples around it.
TEST(ColourEdges, ChromaIsReadWhereItIsSited) {
  Image image(FC_FORMAT_I420, 4, 4, 0);
  for (int i = 0; i < 3; ++i) std::fill(image.bytes[i].begin(), image.bytes[i].end(), uint8_t{128});
  uint8_t* const red = static_cast<uint8_t*>(image.planes.plane[2]);
  red[image.planes.stride[2] + 1] = 168;  // the sample of rows 2 and 3, columns 2 and 3
  const at::Tensor frame = at::empty({3, 4, 4});
  color_read(image.planes, frame);
  const at::Tensor share = (frame[0] - frame[0][0][0]) / (2 * (1 - 0.2126) / 224 * 40);
  const at::Tensor wanted = at::tensor({0.0, 0.0, 0.0, 0.0,      //
                                        0.0, 0.125, 0.25, 0.25,  //
                                        0.0, 0.375, 0.75, 0.75,  //
                                        0.0, 0.5, 1.0, 1.0})
                                .view({4, 4})
                                .to(at::kFloat);
  EXPECT_LT((share - wanted).abs().max().item<double>(), 1e-4) << share;
}

TEST(ColourEdges, WhiteBlackNanAndBadPlanes) {
  Image image(FC_FORMAT_I420, 4, 4, 0);
  color_convert(at::ones({3, 4, 4}), image.planes);
  EXPECT_EQ(image.at(0, 0, 0), 235);
  EXPECT_EQ(image.at(1, 0, 0), 128);
  color_convert(at::full({3, 4, 4}, NAN), image.planes);
  EXPECT_EQ(image.at(0, 0, 0), 16);
  color_convert(at::ones({4, 4, 3}).permute({2, 0, 1}), image.planes);  // any strides of the frame
  EXPECT_EQ(image.at(0, 3, 3), 235);

  fc_planes bad = image.planes;
  bad.stride[1] = 1;
  EXPECT_THROW(color_convert(at::ones({3, 4, 4}), bad), Error);
  bad = image.planes;
  bad.plane[2] = nullptr;
  EXPECT_THROW(color_convert(at::ones({3, 4, 4}), bad), Error);
  bad = image.planes;
  bad.format = static_cast<fc_format>(9);
  EXPECT_THROW(color_convert(at::ones({3, 4, 4}), bad), Error);
  bad = image.planes;
  bad.memory = FC_MEMORY_CUDA;
  EXPECT_THROW(color_convert(at::ones({3, 4, 4}), bad), Error);
  const at::Tensor back = at::empty({3, 4, 4});
  EXPECT_THROW(color_read(bad, back), Error);
  bad = image.planes;
  bad.stride[0] = 3;
  EXPECT_THROW(color_read(bad, back), Error);
}

TEST_P(Types, PlacePhasesPutsEveryPixelInItsPlace) {
  for (const bool relu : {false, true})
    for (const auto& [n, h, w, frames, channels] :
         std::vector<std::array<int64_t, 5>>{{1, 1, 1, 1, 1}, {2, 3, 5, 2, 24}, {3, 4, 2, 1, 17}}) {
      const at::Tensor y = at::randn({n, h + 1, w + 1, frames, 2, 2, channels}).to(GetParam());
      at::Tensor wanted = at::empty({n * frames, 2 * h, 2 * w, channels}, y.options());
      for (int64_t i = 0; i < n * frames; ++i)
        for (int64_t row = 0; row < 2 * h; ++row)
          for (int64_t column = 0; column < 2 * w; ++column) {
            const int64_t r = row % 2, c = column % 2;
            wanted[i][row][column] = y[i / frames][row / 2 + r][column / 2 + c][i % frames][r][c];
          }
      if (relu) wanted.clamp_min_(0);
      EXPECT_TRUE(at::equal(place_phases(y, relu), wanted)) << h << "x" << w << " relu " << relu;
    }
}

TEST_P(Types, PlacePatchesIsPixelShuffle) {
  for (const auto& [n, h, w, channels, patch] : std::vector<std::array<int64_t, 5>>{
           {1, 1, 1, 1, 1}, {2, 5, 7, 3, 2}, {1, 2, 3, 3, 1}, {1, 3, 2, 2, 3}}) {
    const at::Tensor y = at::randn({n, h, w, channels * patch * patch}).to(GetParam());
    at::Tensor planes = at::empty({n, channels, h * patch, w * patch});
    place_patches(y, patch, planes);
    EXPECT_TRUE(
        at::equal(planes, at::pixel_shuffle(y.permute({0, 3, 1, 2}).contiguous(), patch).to(at::kFloat)));
  }
}

TEST_P(Types, PlacePhasesKeepsWhatIsNoNumber) {
  at::Tensor y = at::full({1, 2, 2, 1, 2, 2, 3}, -NAN).to(GetParam());
  EXPECT_TRUE(place_phases(y, true).isnan().all().item<bool>());
}

// A transposed view takes the way of LibTorch's operators.
at::Tensor turned(const at::Tensor& x) {
  return x.transpose(-1, -2).contiguous().transpose(-1, -2);
}

TEST(Fade, ChangeIsTheMeanOverFramesChannelsAndSquares) {
  at::manual_seed(3);
  for (const auto& [n, h, w, side] :
       std::vector<std::array<int64_t, 4>>{{1, 1, 1, 4}, {3, 8, 12, 4}, {2, 9, 23, 4}, {1, 5, 70, 3}}) {
    const at::Tensor a = at::rand({n, 3, h, w}), b = at::rand({n, 3, h, w});
    const at::Tensor got = change_in_cells(a, b, side);
    ASSERT_EQ(got.sizes(), (std::vector<int64_t>{(h + side - 1) / side, (w + side - 1) / side}));
    for (int64_t y = 0; y < got.size(0); ++y)
      for (int64_t x = 0; x < got.size(1); ++x) {
        const auto square = [&](const at::Tensor& of) {
          return of.slice(2, y * side, (y + 1) * side).slice(3, x * side, (x + 1) * side);
        };
        EXPECT_NEAR(got[y][x].item<double>(), (square(a) - square(b)).abs().mean().item<double>(), 1e-6)
            << h << "x" << w << ": " << y << ", " << x;
      }
    EXPECT_LT(largest(change_in_cells(turned(a), b, side), got), 1e-6);
  }
}

TEST(Fade, EachFrameKeepsItsShareOfTheOneBefore) {
  at::manual_seed(4);
  for (const auto& [n, h, w] : std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {5, 20, 33}, {8, 3, 64}}) {
    const at::Tensor frames = at::rand({n, 3, h, w}), before = at::rand({3, h, w});
    // As seam_fade.cpp hands them over: a part of larger planes.
    const at::Tensor both = at::rand({2, h + 3, w + 2}).slice(1, 0, h).slice(2, 0, w);
    at::Tensor wanted = frames.clone();
    for (int64_t i = 0; i < n; ++i) wanted[i].lerp_(before, (1 - (i + 1) * both[0]).clamp_min(0) * both[1]);
    at::Tensor got = frames.clone(), plainly = turned(frames);
    fade_from(before, both[0], both[1], got);
    fade_from(before, both[0], both[1], plainly);
    EXPECT_LT(largest(got, wanted), 1e-6) << n << " of " << h << "x" << w;
    EXPECT_LT(largest(plainly, wanted), 1e-6) << n << " of " << h << "x" << w;
  }
}

TEST(Fade, DoesNotDependOnThreads) {
  at::manual_seed(5);
  const at::Tensor a = at::rand({4, 3, 200, 70}), b = at::rand({4, 3, 200, 70}), plane = at::rand({200, 70});
  const int threads = at::get_num_threads();
  std::vector<at::Tensor> changes, faded;
  for (const int count : {1, 3}) {
    at::set_num_threads(count);
    changes.push_back(change_in_cells(a, b, 4));
    faded.push_back(a.clone());
    fade_from(b[0], plane, plane, faded.back());
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(changes[0], changes[1]));
  EXPECT_TRUE(at::equal(faded[0], faded[1]));
}

}  // namespace
}  // namespace flowcache
