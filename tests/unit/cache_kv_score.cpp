// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <set>

#include "cache/kv/kv_score.h"

using namespace flowcache;

namespace {

// The linear congruential generator that the published test vectors were made with.
at::Tensor lcg(int64_t seed, at::IntArrayRef shape) {
  at::Tensor filled = at::empty(shape, at::kFloat);
  float* data = filled.mutable_data_ptr<float>();
  int64_t state = seed;
  for (int64_t i = 0; i < filled.numel(); ++i) {
    state = (1103515245 * state + 12345) % (int64_t{1} << 31);
    data[i] =
        static_cast<float>(2.0 * static_cast<double>(state) / static_cast<double>(int64_t{1} << 31) - 1);
  }
  return filled;
}

void expect_near(const at::Tensor& got, const std::vector<double>& want, double tolerance) {
  ASSERT_EQ(got.numel(), static_cast<int64_t>(want.size()));
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i].item<double>(), want[i], tolerance) << i;
}

std::set<int64_t> slots(const at::Tensor& best) {
  std::set<int64_t> all;
  for (int64_t i = 0; i < best.numel(); ++i) all.insert(best[i].item<int64_t>());
  return all;
}

std::set<int64_t> top(const at::Tensor& q, const at::Tensor& k, double lambda, int pool, int64_t budget,
                      int64_t head) {
  const KvScoreConfig config{.lambda = lambda, .pool = pool};
  const at::Tensor score =
      kv_score(kv_pool(kv_importance(q, k), pool), kv_redundancy(k), config, 1, k.size(1));
  return slots(kv_best(score, budget, 1)[head]);
}

}  // namespace

TEST(KvScore, SixKeysByHand) {
  const at::Tensor k = at::tensor({1., 0., .8, .6, 0., 1., 1., .1, -1., 0., .6, -.8}).view({1, 6, 2});
  const at::Tensor q = at::tensor({1., .5, .5, 1.}).view({1, 2, 2});
  expect_near(kv_importance(q, k)[0], {.1928, .23662, .19648, .2029, .06803, .10317}, 1e-5);
  expect_near(kv_redundancy(k)[0], {.19965, .20168, .1556, .20225, .08986, .15095}, 1e-5);
  const auto score = [&](double lambda) {
    return kv_score(kv_importance(q, k), kv_redundancy(k), {.lambda = lambda, .subtract_minimum = false}, 1,
                    6)[0];
  };
  expect_near(score(.07), {-.17218, -.171, -.13096, -.17389, -.07881, -.13316}, 1e-5);
  expect_near(score(.5), {-.00342, .01747, .02044, .00032, -.01091, -.02389}, 1e-5);
  EXPECT_EQ(top(q, k, .07, 1, 3, 0), (std::set<int64_t>{2, 4, 5}));
  EXPECT_EQ(top(q, k, .5, 1, 3, 0), (std::set<int64_t>{1, 2, 3}));
}

TEST(KvScore, TwelveTokensTwoHeadsSixQueryHeads) {
  const at::Tensor k = lcg(1, {12, 2, 4}).transpose(0, 1), q = lcg(2, {5, 6, 4}).transpose(0, 1);
  EXPECT_NEAR(k[0][0][1].item<double>(), -.6485174, 1e-7);
  const at::Tensor importance = kv_pool(kv_importance(q, k), 7), redundancy = kv_redundancy(k);
  expect_near(importance[0],
              {.0924694, .0924694, .0924694, .0924694, .1063858, .1063858, .1063858, .1063858, .1063858,
               .1063858, .1063858, .0932195},
              1e-6);
  expect_near(importance[1],
              {.0901256, .0901256, .0958313, .0958313, .1015361, .1015361, .1015361, .1015361, .1015361,
               .1015361, .1015361, .0871058},
              1e-6);
  expect_near(redundancy[0],
              {.0792975, .0818916, .0739941, .0732094, .0824388, .0894241, .0928384, .0770594, .0964947,
               .0832863, .0959418, .0741239},
              1e-6);
  expect_near(redundancy[1],
              {.0848301, .0935323, .0828630, .0897677, .0666054, .0883641, .0701567, .0856342, .0962032,
               .0676036, .0909617, .0834778},
              1e-6);
  EXPECT_EQ(top(q, k, .07, 7, 5, 0), (std::set<int64_t>{0, 2, 3, 7, 11}));
  EXPECT_EQ(top(q, k, .07, 7, 5, 1), (std::set<int64_t>{2, 4, 6, 9, 11}));
  EXPECT_EQ(top(q, k, .5, 7, 5, 0), (std::set<int64_t>{3, 4, 7, 9, 11}));
  EXPECT_EQ(top(q, k, .5, 7, 5, 1), (std::set<int64_t>{4, 5, 6, 7, 9}));
}

TEST(KvScore, RedundancyEqualsTheMeanOfTheFullMatrix) {
  const at::Tensor k = at::randn({3, 70, 16});
  const at::Tensor unit = k / k.norm(2, -1, true);
  at::Tensor cosine = at::matmul(unit, unit.transpose(1, 2));
  cosine.diagonal(0, 1, 2).zero_();
  const at::Tensor naive = (cosine.sum(1) / 70).softmax(-1);
  EXPECT_LT((kv_redundancy(k) - naive).abs().max().item<double>(), 1e-7);
}

TEST(KvScore, ImportanceDoesNotDependOnTheBlockOfQueries) {
  // Enough logits for several blocks of queries.
  const at::Tensor q = at::randn({4, 700, 8}), k = at::randn({2, 4000, 8});
  at::Tensor logits = at::matmul(q.view({2, 2, 700, 8}), k.unsqueeze(1).transpose(2, 3)) / std::sqrt(8.0);
  const at::Tensor whole = std::get<0>(logits.max(1)).softmax(-1).mean(1);
  EXPECT_LT((kv_importance(q, k) - whole).abs().max().item<double>(), 1e-8);
}

// What a GPU runs, against what a CPU runs. The attention operator gives sums only; what it multiplies is bf16 or fp32.
TEST(KvScore, TheWaysOfAGpuGiveTheSameImportance) {
  const auto error = [](const at::Tensor& got, const at::Tensor& wanted) {
    EXPECT_EQ(got.sizes(), wanted.sizes());
    return ((got - wanted).abs() / wanted).max().item<double>();
  };
  for (const int64_t shared : {1, 3}) {
    // Long vectors, so that some keys get nearly all and others nearly nothing.
    const at::Tensor q = at::randn({2 * shared, 130, 64}) * 6, k = at::randn({2, 333, 64});
    const at::Tensor wanted = kv_importance(q, k);
    EXPECT_GT((wanted.max() / wanted.min()).item<double>(), 300);
    EXPECT_NEAR(wanted.sum().item<double>(), 2, 1e-5);
    // Each query of each block by itself, several blocks with a rest, and all at once.
    for (const uint64_t bytes : {uint64_t{1}, uint64_t{4} * 2 * 333 * (shared + 2) * 50, uint64_t{1} << 30})
      EXPECT_LT(error(importance_in_large_blocks(q, k, bytes), wanted), 2e-5) << shared << ", " << bytes;
    if (shared > 1) continue;
    EXPECT_LT(error(importance_by_attention(q, k), wanted), 1e-4);
    const at::Tensor q16 = q.to(at::kBFloat16), k16 = k.to(at::kBFloat16);
    EXPECT_LT(error(importance_by_attention(q16, k16), kv_importance(q16, k16)), 1e-4);
  }
}

TEST(KvScore, QueriesByGranularity) {
  EXPECT_EQ(query_count(KvQueries::token, 240, 720), 50);
  EXPECT_EQ(query_count(KvQueries::frame, 240, 720), 240);
  EXPECT_EQ(query_count(KvQueries::chunk, 240, 720), 720);
  EXPECT_EQ(query_count(KvQueries::token, 12, 36), 36);
}

TEST(KvScore, GroupsStayTogether) {
  const at::Tensor score = at::tensor({1., 5., 3., 4.}).view({1, 4});
  const at::Tensor best = kv_best(score, 7, 3);  // room for two groups of three
  EXPECT_TRUE(at::equal(best[0], at::tensor({3, 4, 5, 9, 10, 11}, at::kLong)));
}

TEST(KvScore, EqualScoresKeepTheOlder) {
  EXPECT_TRUE(at::equal(kv_best(at::ones({1, 9}), 3, 1)[0], at::tensor({0, 1, 2}, at::kLong)));
}

TEST(KvScore, WeightsByAge) {
  const auto ends = [](KvWeighting w) {
    const at::Tensor weight = kv_position_weight(9, w, 3);
    return std::pair(weight[0].item<double>(), weight[8].item<double>());
  };
  const auto expect = [&](KvWeighting w, double oldest, double newest) {
    EXPECT_NEAR(ends(w).first, oldest, 1e-6);
    EXPECT_NEAR(ends(w).second, newest, 1e-6);
  };
  expect(KvWeighting::none, 1, 1);
  expect(KvWeighting::exponential, 0.1, 1);
  expect(KvWeighting::polynomial, 0.1, 1);
  expect(KvWeighting::upper_convex, 0, 2);
  expect(KvWeighting::gaussian, 1, 0.1);
}
