// SPDX-License-Identifier: LGPL-2.1-or-later
// The arithmetic of the kernels for NVIDIA GPUs, run on the host (cuda_on_host.h), against the CPU's kernels.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

#include "cache/kv/compact.h"
#include "color_convert.h"
#include "cuda_arguments.h"
#include "cuda_kernels_on_host.h"
#include "norm_modulate.h"
#include "relative_l1.h"
#include "rms_norm_rope.h"

namespace flowcache {
namespace {

// Both orders of the threads: what only works in one of them lacks a barrier.
class CudaOnHost : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    at::manual_seed(11);
    run_threads_backwards(GetParam());
  }
  void TearDown() override { run_threads_backwards(false); }
};
INSTANTIATE_TEST_SUITE_P(Threads, CudaOnHost, testing::Bool(),
                         [](const auto& info) { return std::string(info.param ? "Backwards" : "Forwards"); });

// The same numbers but for rounding: of sums, and of a result in bf16 one unit of its last place.
void expect_close(const at::Tensor& got, const at::Tensor& want, const std::string& what) {
  ASSERT_EQ(got.sizes(), want.sizes()) << what;
  ASSERT_EQ(got.scalar_type(), want.scalar_type()) << what;
  const double part = want.scalar_type() == at::kBFloat16 ? std::ldexp(1, -7) : 4e-6;
  EXPECT_TRUE(at::allclose(got.to(at::kDouble), want.to(at::kDouble), part, 4e-6, /*equal_nan=*/true))
      << what << ": off by " << (got.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>();
}

// Rows that begin `shift` numbers behind a round address, with a gap between them. Without a shift all begin at round
// addresses, so that they can be read in packs.
at::Tensor shifted(int64_t rows, int64_t dim, int64_t shift, at::ScalarType type = at::kFloat) {
  return at::randn({rows, dim + shift + (shift == 0 ? 16 - dim % 16 : 4)}).to(type).narrow(1, shift, dim);
}

TEST_P(CudaOnHost, NormModulateIsTheCpus) {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const int64_t dim : {1, 5, 64, 130, 1536, 2500})
      for (const int64_t groups : {1, 3})
        for (const int64_t shift : {0, 1}) {
          const int64_t rows = 5;
          const at::Tensor x = shifted(rows, dim, shift) * 3 + 1;
          const at::Tensor wide = at::randn({groups, 6, dim}), multiplier = wide.select(1, 1),
                           offset = wide.select(1, 4);
          const RowGroups map{groups == 1 ? 0 : 4, groups == 1 ? INT64_MAX : 3};  // rows 4..8: groups 1 and 2
          const at::Tensor got = at::empty({rows, dim}, type);
          const auto args = cuda_arguments::norm_modulate(x, multiplier, offset, map, 1e-6, got);
          ASSERT_EQ(fc_cuda_norm_modulate(&args, nullptr), 0);
          expect_close(got, norm_modulate(x, multiplier, offset, map, 1e-6, type),
                       std::to_string(dim) + " wide, groups " + std::to_string(groups) + ", shift " +
                           std::to_string(shift));
        }
}

// Rows without variance, of large numbers, and with a NaN that must stay in its row.
TEST_P(CudaOnHost, NormModulateAtItsEdges) {
  at::Tensor x = at::randn({4, 96});
  x[0].fill_(5);
  x[1].mul_(1e15);
  x[2][17] = NAN;
  const at::Tensor one = at::ones({1, 96}), none = at::zeros({1, 96});
  const at::Tensor got = at::empty({4, 96});
  auto args = cuda_arguments::norm_modulate(x, one, none, {}, 1e-6, got);
  ASSERT_EQ(fc_cuda_norm_modulate(&args, nullptr), 0);
  EXPECT_EQ(got[0].abs().max().item<float>(), 0);
  EXPECT_TRUE(got[2].isnan().all().item<bool>());
  expect_close(got, norm_modulate(x, one, none, {}, 1e-6, at::kFloat), "edges");
  args.rows = 0;
  EXPECT_EQ(fc_cuda_norm_modulate(&args, nullptr), 0);
}

// All numbers come out as LibTorch rounds them: halfway to even, denormal, infinite, none.
TEST_P(CudaOnHost, RoundsToBf16AsLibTorch) {
  const int64_t n = 4096;
  at::Tensor values = at::randint(INT32_MIN, INT32_MAX, {1, n}, at::kInt).view(at::kFloat);
  const float edges[] = {0.F,     -0.F,   1.00390625F, 1.01171875F, -1.00390625F,
                         3.4e38F, 1e-40F, INFINITY,    -INFINITY,   NAN};
  for (size_t i = 0; i < std::size(edges); ++i) values[0][static_cast<int64_t>(i)] = edges[i];
  const at::Tensor x = at::zeros({1, n}), none = at::zeros({1, n});
  const at::Tensor got = at::empty({1, n}, at::kBFloat16);
  const auto args = cuda_arguments::norm_modulate(x, none, values, {}, 1e-6, got);
  ASSERT_EQ(fc_cuda_norm_modulate(&args, nullptr), 0);
  EXPECT_TRUE(at::equal(at::nan_to_num(got, 12345), at::nan_to_num(values.to(at::kBFloat16), 12345)));
  EXPECT_TRUE(at::equal(got.isnan(), values.isnan()));
}

TEST_P(CudaOnHost, GatedAddIsTheCpus) {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const int64_t dim : {1, 5, 130, 192, 2500})
      for (const int64_t shift : {0, 1})
        for (const int groups : {0, 1, 2}) {  // 0: no gate
          const int64_t rows = 7;
          const at::Tensor base = shifted(rows, dim, shift), y = shifted(rows, dim, shift, type);
          const at::Tensor gate = groups == 0 ? at::Tensor() : at::randn({groups, 2, dim}).select(1, 1);
          const RowGroups map{groups == 2 ? 3 : 0, groups == 2 ? 5 : INT64_MAX};  // rows 3..9: groups 0 and 1
          at::Tensor want = base.clone(), got = base.clone();
          gated_add(want, y, gate, map);
          const auto args = cuda_arguments::gated_add(got, y, gate, map);
          ASSERT_EQ(fc_cuda_gated_add(&args, nullptr), 0);
          expect_close(got, want, std::to_string(dim) + " wide, groups " + std::to_string(groups));
        }
}

struct Turn {
  at::Tensor weight, cos, sin;
  int64_t first_row = 0;
};

void rms_norm_rope_on_host(const at::Tensor& x, const Turn& turn, at::Tensor& out) {
  const auto args =
      cuda_arguments::rms_norm_rope(x, turn.weight, 1e-6, turn.cos, turn.sin, turn.first_row, out);
  ASSERT_EQ(fc_cuda_rms_norm_rope(&args, nullptr), 0);
}

// A row of a fused projection goes into the slots of a larger buffer, whose other rows stay as they are.
TEST_P(CudaOnHost, RmsNormRopeIsTheCpusAndTouchesNothingElse) {
  const int64_t rows = 2, first = 3, tokens = rows + first + 2;
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto& [heads, dim] : {std::pair<int64_t, int64_t>{1, 2}, {3, 6}, {2, 20}, {3, 64}, {3, 1000}})
      for (const bool norm : {false, true})
        for (const bool rope : {false, true})
          for (const int64_t shift : {0, 1}) {
            const at::Tensor x = shifted(rows, heads * dim, shift, type);
            Turn turn{.first_row = first};
            if (norm) turn.weight = at::rand({heads * dim}) + 0.5;
            const at::Tensor angle = at::randn({tokens, dim / 2 + shift}).narrow(1, shift, dim / 2);
            if (rope) turn.cos = at::cos(angle), turn.sin = at::sin(angle);
            at::Tensor got = at::full({heads, tokens + 9, dim}, 77, type), want = got.clone();
            at::Tensor got_slots = got.narrow(1, 4, tokens), want_slots = want.narrow(1, 4, tokens);
            rms_norm_rope(x, turn.weight, 1e-6, turn.cos, turn.sin, first, want_slots);
            rms_norm_rope_on_host(x, turn, got_slots);
            const std::string what = std::to_string(heads) + " x " + std::to_string(dim) +
                                     (norm ? ", norm" : "") + (rope ? ", rope" : "");
            expect_close(got, want, what);
            EXPECT_TRUE(norm || rope || at::equal(got, want)) << what;
            EXPECT_EQ((got == 77).sum().item<int64_t>(), (want == 77).sum().item<int64_t>()) << what;
          }
}

TEST_P(CudaOnHost, RmsNormRopeAtItsEdges) {
  at::Tensor x = at::randn({4, 64});
  x[0].zero_();
  x[1].mul_(1e15);
  x[2][3] = INFINITY;
  Turn turn{.weight = at::ones({64})};
  at::Tensor got = at::empty({2, 4, 32}), want = got.clone();
  rms_norm_rope(x, turn.weight, 1e-6, {}, {}, 0, want);
  rms_norm_rope_on_host(x, turn, got);
  expect_close(got, want, "edges");
  fc_cuda_rms_norm_rope_args odd{.rows = 1, .heads = 1, .head_dim = 3};
  EXPECT_NE(fc_cuda_rms_norm_rope(&odd, nullptr), 0);
}

// Ascending slots below `used`, about half of them.
at::Tensor some_slots(int64_t used, int64_t kept) {
  return std::get<0>(at::randperm(used).narrow(0, 0, kept).sort());
}

TEST_P(CudaOnHost, MovedRowsAreTheCpus) {
  struct Case {
    int64_t used, kept, tail;
    bool of_heads;
  };
  const int64_t layers = 2, planes = 2, heads = 3;
  for (const auto& [used, kept, tail, of_heads] : {Case{9, 4, 3, false},
                                                   {9, 9, 2, false},
                                                   {9, 0, 5, true},
                                                   {40, 11, 0, true},
                                                   {500, 300, 70, true},
                                                   {500, 498, 100, false}})
    for (const auto type : {at::kByte, at::kBFloat16, at::kFloat})
      for (const int64_t width : {1, 6, 40}) {
        const at::Tensor before =
            at::randint(0, 250, {layers, planes, heads, used + tail + 3, width}).to(type);
        std::vector<at::Tensor> slots;
        for (int64_t layer = 0; layer < layers; ++layer) {
          std::vector<at::Tensor> of_head;
          for (int64_t head = 0; head < heads; ++head) of_head.push_back(some_slots(used, kept));
          slots.push_back(of_heads ? at::stack(of_head) : of_head.front());
        }
        at::Tensor want = before.clone(), scratch;
        for (int64_t layer = 0; layer < layers; ++layer)
          compact_rows(want[layer], slots[static_cast<size_t>(layer)], used, tail, scratch);
        const at::Tensor got = before.clone(), joined = cuda_arguments::joined_slots(slots, heads, {});
        EXPECT_EQ(joined.size(1), of_heads ? heads : 1);
        const auto args = cuda_arguments::move_rows(got, joined, used, tail);
        ASSERT_EQ(fc_cuda_move_rows(&args, nullptr), 0);
        EXPECT_TRUE(at::equal(got, want))
            << used << " used, " << kept << " kept, tail " << tail << ", " << width << " of " << type;
      }
}

TEST_P(CudaOnHost, RelativeL1IsTheCpus) {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const int64_t n : {1, 7, 255, 257, 3000, 140001}) {
      if (n > 3000 && (GetParam() || type == at::kBFloat16)) continue;  // many blocks take a second
      const at::Tensor cur = at::randn({n}).to(type), prev = at::randn({n}).to(type);
      const at::Tensor sums = at::full({2 + 2 * FC_CUDA_L1_BLOCKS}, NAN, at::kDouble);
      const auto args = cuda_arguments::relative_l1(cur, prev, sums);
      ASSERT_EQ(fc_cuda_relative_l1(&args, nullptr), 0);
      const double want = relative_l1(cur, prev);
      EXPECT_NEAR((sums[0] / sums[1]).item<double>(), want, 1e-12 * want) << n << " of " << type;
    }
  const at::Tensor good = at::ones({600}), sums = at::empty({2 + 2 * FC_CUDA_L1_BLOCKS}, at::kDouble);
  at::Tensor bad = good.clone();
  bad[599] = NAN;
  const auto args = cuda_arguments::relative_l1(bad, good, sums);
  ASSERT_EQ(fc_cuda_relative_l1(&args, nullptr), 0);
  EXPECT_TRUE(std::isnan(sums[0].item<double>()));
  EXPECT_EQ(sums[1].item<double>(), 600);
}

TEST_P(CudaOnHost, ConvertedFramesAreTheCpus) {
  for (const auto& [width, height] : {std::pair<int, int>{1, 1}, {2, 2}, {33, 9}, {64, 17}, {37, 20}})
    for (const fc_format format : {FC_FORMAT_RGBA, FC_FORMAT_NV12, FC_FORMAT_I420}) {
      at::Tensor frame = at::rand({3, height, width}) * 1.4 - 0.2;
      if (width > 2) frame[1][0][1] = NAN;
      std::vector<std::vector<uint8_t>> bytes[2];
      for (auto& planes_of : bytes) {
        fc_planes planes = fc_planes_init();
        planes.format = format;
        planes_of.assign(3, std::vector<uint8_t>(size_t{200} * 24, 0xAB));
        for (int i = 0; i < 3; ++i) {
          planes.plane[i] = planes_of[static_cast<size_t>(i)].data();
          planes.stride[i] = format == FC_FORMAT_RGBA ? 4 * static_cast<uint32_t>(width) + 3 : 70;
          planes_of[static_cast<size_t>(i)].resize(size_t{planes.stride[i]} * 24, 0xAB);
          planes.plane[i] = planes_of[static_cast<size_t>(i)].data();
        }
        if (&planes_of == bytes)
          color_convert_on_cpu(frame, planes);
        else
          ASSERT_EQ(fc_cuda_color_convert(frame.const_data_ptr<float>(), width, height, &planes, nullptr), 0);
      }
      int apart = 0;
      for (size_t plane = 0; plane < 3; ++plane)
        for (size_t i = 0; i < bytes[0][plane].size(); ++i)
          apart = std::max(apart, std::abs(bytes[0][plane][i] - bytes[1][plane][i]));
      EXPECT_LE(apart, 1) << width << " x " << height << ", format " << format;
    }
}

TEST_P(CudaOnHost, PlanesAreReadAsTheCpuReadsThem) {
  for (const auto& [width, height] : {std::pair<int, int>{1, 1}, {2, 2}, {33, 9}, {64, 17}, {37, 20}})
    for (const fc_format format : {FC_FORMAT_RGBA, FC_FORMAT_NV12, FC_FORMAT_I420}) {
      fc_planes planes = fc_planes_init();
      planes.format = format;
      const uint32_t stride = format == FC_FORMAT_RGBA ? 4 * static_cast<uint32_t>(width) + 3 : 70;
      at::Tensor bytes[3];
      for (int i = 0; i < 3; ++i) {
        bytes[i] = at::randint(256, {24, stride}, at::kByte);
        planes.plane[i] = bytes[i].mutable_data_ptr();
        planes.stride[i] = stride;
      }
      at::Tensor want = at::full({3, height, width}, NAN), got = at::full({3, height, width}, NAN);
      color_read_on_cpu(planes, want);
      ASSERT_EQ(fc_cuda_color_read(&planes, width, height, got.mutable_data_ptr<float>(), nullptr), 0);
      EXPECT_LT((got - want).abs().max().item<float>(), 1e-5F)
          << width << " x " << height << ", format " << format;
    }
}

// ---- the stand-in itself

TEST_P(CudaOnHost, ABarrierIsWaitedFor) {
  std::vector<int> numbers(64, -2);
  ASSERT_EQ(launch_taking_from_next(numbers.data(), true), 0);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(numbers[static_cast<size_t>(i)], (i + 1) % 64);
}

TEST_P(CudaOnHost, ABarrierThatIsMissingIsSeen) {
  std::vector<int> numbers(64, -2);
  ASSERT_EQ(launch_taking_from_next(numbers.data(), false), 0);
  EXPECT_NE(std::count(numbers.begin(), numbers.end(), -1), 0);
}

TEST(CudaOnHostDeathTest, ThreadsThatWaitApartEndTheProgram) {
  EXPECT_DEATH(launch_threads_that_wait_apart(), "wait for each other in vain");
}

}  // namespace
}  // namespace flowcache
