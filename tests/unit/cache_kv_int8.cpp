// SPDX-License-Identifier: LGPL-2.1-or-later
// History in 8 bits: what it rounds, what it takes, and that nothing else about the store changes.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "cache/kv/kv_int8.h"
#include "cache/kv/kv_store.h"
#include "cache/registry.h"

using namespace flowcache;

namespace {

constexpr int64_t kChunk = 12, kFrame = 4, kHeads = 2, kQueryHeads = 4, kWidth = 16;
constexpr int kLayers = 3;

KvGeometry geometry(KvPrecision precision, at::ScalarType dtype = at::kFloat, int64_t window = 2) {
  return {.layers = kLayers,
          .kv_heads = kHeads,
          .head_dim = kWidth,
          .tokens_per_frame = kFrame,
          .tokens_per_chunk = kChunk,
          .window_chunks = window,
          .dtype = dtype,
          .time_frequencies = {1.0, 0.3, 0.1},
          .heads = kQueryHeads,
          .precision = precision};
}

at::Tensor noise(at::IntArrayRef shape, int64_t seed, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(seed)).to(dtype);
}

KeyValue own(int64_t chunk, int layer, int step, at::ScalarType dtype) {
  const int64_t seed = (chunk * 100 + layer) * 10 + step;
  return {noise({kHeads, kChunk, kWidth}, 2 * seed, dtype),
          noise({kHeads, kChunk, kWidth}, 2 * seed + 1, dtype)};
}

KeyValue append(KvStore& store, int64_t chunk, int layer, int step = 0, at::ScalarType dtype = at::kFloat) {
  const at::Tensor q = noise({kQueryHeads, kChunk, kWidth}, 7 * chunk + layer, dtype);
  return store.view(chunk).append(layer, q, own(chunk, layer, step, dtype));
}

void run_chunk(KvStore& store, int64_t chunk, at::ScalarType dtype = at::kFloat) {
  store.admit(chunk, chunk * kChunk / kFrame);
  for (int layer = 0; layer < kLayers; ++layer) append(store, chunk, layer, 0, dtype);
}

bool finish(KvStore& store, int64_t chunk) {
  if (store.policy().needs_change(8) < 0) return store.finish(chunk);
  return store.finish(chunk, at::arange(chunk * kChunk, (chunk + 1) * kChunk, at::kFloat) / 1000);
}

// Half of the scale of each row, and what is lost when fp32 becomes the type of the rows.
at::Tensor bound(const at::Tensor& rows) {
  const at::Tensor largest = std::get<0>(rows.to(at::kFloat).abs().max(-1, true));
  const double type = rows.scalar_type() == at::kBFloat16 ? 1.0 / 256 : 1e-6;
  return largest * (0.5 / 127 + type);
}

void expect_rounded(const at::Tensor& got, const at::Tensor& exact) {
  ASSERT_EQ(got.sizes(), exact.sizes());
  const at::Tensor error = (got.to(at::kFloat) - exact.to(at::kFloat)).abs();
  EXPECT_TRUE((error <= bound(exact)).all().item<bool>()) << (error / bound(exact)).max().item<double>();
}

}  // namespace

TEST(KvInt8, NoNumberIsOffByMoreThanHalfAScaleOfItsOwnRow) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    at::Tensor rows = noise({3, 50, 64}, 1, type);
    rows[1].mul_(1000);     // a loud head beside quiet ones,
    rows[0][7].mul_(1e-6);  // a quiet token,
    rows[2][9].zero_();     // an empty one,
    rows[0][3][5] = 80;     // and one number above the others
    const Int8Rows small = to_int8(rows);
    at::Tensor back = at::full_like(rows, std::numeric_limits<float>::quiet_NaN());
    from_int8(small, back);
    expect_rounded(back, rows);
    EXPECT_EQ(small.scales.sizes(), (std::vector<int64_t>{3, 50, 1}));
    EXPECT_EQ(small.codes.abs().amax().item<int64_t>(), 127);
    EXPECT_EQ(back[2][9].abs().amax().item<float>(), 0);
    // The largest number of each row uses the whole range, but where there is none.
    const at::Tensor used = small.codes.abs().amax(-1).to(at::kLong);
    EXPECT_EQ((used == 127).sum().item<int64_t>(), 3 * 50 - 1);
    // What is rounded once stays as it is: a chunk that is moved loses nothing.
    at::Tensor again = at::empty_like(rows);
    from_int8(to_int8(back), again);
    EXPECT_TRUE(((again - back).abs() <= back.abs() * 0.01).all().item<bool>());
  }
}

TEST(KvInt8, ChunksInFlightAreExactAndFinishedOnesAreRoundedOnce) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    KvStore store(geometry(KvPrecision::int8, type, 3), 5 * kChunk, choose_kv("window").make());
    run_chunk(store, 0, type);
    finish(store, 0);
    run_chunk(store, 1, type);
    store.admit(2, 6);
    for (int layer = 0; layer < kLayers; ++layer) append(store, 2, layer, 4, type);
    for (int layer = 0; layer < kLayers; ++layer) {
      const KeyValue seen = append(store, 2, layer, 5, type);
      ASSERT_EQ(seen.k.size(1), 3 * kChunk);
      EXPECT_EQ(seen.k.scalar_type(), type);
      EXPECT_EQ(seen.k.stride(2), 1);
      const KeyValue history = own(0, layer, 0, type), older = own(1, layer, 0, type),
                     mine = own(2, layer, 5, type);
      expect_rounded(seen.k.narrow(1, 0, kChunk), history.k);
      expect_rounded(seen.v.narrow(1, 0, kChunk), history.v);
      EXPECT_FALSE(seen.k.narrow(1, 0, kChunk).equal(history.k));
      EXPECT_TRUE(seen.k.narrow(1, kChunk, kChunk).equal(older.k));
      EXPECT_TRUE(seen.v.narrow(1, kChunk, kChunk).equal(older.v));
      EXPECT_TRUE(seen.k.narrow(1, 2 * kChunk, kChunk).equal(mine.k));
      EXPECT_TRUE(seen.v.narrow(1, 2 * kChunk, kChunk).equal(mine.v));
    }
    // The older chunk does not see the younger one, and its slots are its own.
    EXPECT_EQ(append(store, 1, 0, 0, type).k.size(1), 2 * kChunk);
    EXPECT_TRUE(store.view(2).slots(1).v.equal(own(2, 1, 5, type).v));
    EXPECT_TRUE(store.view(1).slots(1).k.equal(own(1, 1, 0, type).k));
  }
}

// How many of the chunks' tokens each slot of a history may be: its key and its value are theirs, rounded. [kv_heads, T]
at::Tensor tokens_that_fit(const KeyValue& history, int layer, int64_t chunks) {
  at::Tensor fit;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const KeyValue all = own(chunk, layer, 0, at::kFloat);
    const auto near = [](const at::Tensor& got, const at::Tensor& exact) {
      return ((got.unsqueeze(2) - exact.unsqueeze(1)).abs() <= bound(exact).unsqueeze(1)).all(-1);
    };
    const at::Tensor of_chunk = near(history.k, all.k).logical_and(near(history.v, all.v)).sum(-1);
    fit = fit.defined() ? fit + of_chunk : of_chunk;
  }
  return fit;
}

// Every policy, many chunks: the same number of tokens stays, each with its own key and value, rounded once. Policies that
// do not look at the keys keep the same tokens; with these keys of noise, flowcache's scores are nearly equal.
TEST(KvInt8, PoliciesKeepTokensThatKeepTheirValues) {
  for (const auto& entry : kv_policies()) {
    if (!entry.make(choose_kv(entry.name).options)->drops()) continue;
    KvStore small(geometry(KvPrecision::int8), 30, choose_kv(entry.name).make());
    KvStore full(geometry(KvPrecision::full), 30, choose_kv(entry.name).make());
    for (int64_t chunk = 0; chunk < 30; ++chunk) {
      for (KvStore* store : {&small, &full}) {
        run_chunk(*store, chunk);
        if (chunk > 0) finish(*store, chunk - 1);
      }
      ASSERT_EQ(small.history_tokens(), full.history_tokens()) << entry.name;
    }
    for (int layer = 0; layer < kLayers; ++layer) {
      const KeyValue a = small.history(layer), b = full.history(layer);
      EXPECT_TRUE((tokens_that_fit(a, layer, 29) == 1).all().item<bool>()) << entry.name;
      EXPECT_FALSE(a.k.equal(b.k)) << entry.name;
      if (entry.name == "flowcache") continue;
      expect_rounded(a.k, b.k);
      expect_rounded(a.v, b.v);
    }
  }
}

TEST(KvInt8, AllocatesWhatIsSaidAndNeverMore) {
  for (const auto& entry : kv_policies())
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
      for (const KvPrecision precision : {KvPrecision::full, KvPrecision::int8}) {
        const KvGeometry g = geometry(precision, type);
        const auto policy = choose_kv(entry.name).make();
        policy->begin(kFrame, kChunk, 3 * kChunk);
        const KvNeeds needs = kv_needs(g, 3 * kChunk, *policy);
        KvStore store(g, 3 * kChunk, choose_kv(entry.name).make());
        EXPECT_EQ(store.allocated_bytes(), needs.history + needs.in_flight + needs.scratch) << entry.name;
        EXPECT_EQ(store.budget_bytes(), needs.history) << entry.name;
        for (int64_t chunk = 0; chunk < (policy->drops() ? 8 : 3); ++chunk) {
          run_chunk(store, chunk, type);
          finish(store, chunk);
          ASSERT_LE(store.history_bytes(), store.budget_bytes()) << entry.name;
        }
        EXPECT_EQ(store.history_bytes(), needs.history) << entry.name;
        EXPECT_EQ(store.allocated_bytes(), needs.history + needs.in_flight + needs.scratch) << entry.name;
      }
}

// By hand: a key and a value of 16 numbers are 2 x (16 + 4) bytes instead of 2 x 64 or 2 x 32.
TEST(KvInt8, ATokenTakesAByteForEachNumberAndAScale) {
  const int64_t rows = kLayers * kHeads;
  EXPECT_EQ(geometry(KvPrecision::int8).bytes(10), 10u * rows * 2 * (kWidth + 4));
  EXPECT_EQ(geometry(KvPrecision::full).bytes(10), 10u * rows * 2 * kWidth * 4);
  EXPECT_EQ(geometry(KvPrecision::int8).bytes_in_flight(10), 10u * rows * 2 * kWidth * 4);
  EXPECT_EQ(geometry(KvPrecision::int8, at::kBFloat16).bytes_in_flight(10), 10u * rows * 2 * kWidth * 2);
}

TEST(KvInt8, ResetAndForgettingAreAsWithFullPrecision) {
  KvStore store(geometry(KvPrecision::int8), 3 * kChunk, choose_kv("flowcache").make());
  const auto fill = [&] {
    for (int64_t chunk = 0; chunk < 6; ++chunk) {
      run_chunk(store, chunk);
      finish(store, chunk);
    }
    return store.history(1).k.clone();
  };
  const at::Tensor once = fill();
  const uint64_t allocated = store.allocated_bytes();
  store.reset();
  EXPECT_EQ(store.history_tokens(), 0);
  EXPECT_TRUE(fill().equal(once));
  run_chunk(store, 6);
  EXPECT_TRUE(store.forget_history());
  EXPECT_EQ(append(store, 6, 0).k.size(1), kChunk);
  EXPECT_TRUE(append(store, 6, 2).k.equal(own(6, 2, 0, at::kFloat).k));
  finish(store, 6);
  expect_rounded(store.history(1).v, own(6, 1, 0, at::kFloat).v);
  EXPECT_EQ(store.allocated_bytes(), allocated);
}

// The sink is moved 80 times. With a second rounding at each, it would be far off; it is rounded once.
TEST(KvInt8, KeysThatAreMovedInTimeAreRoundedOnce) {
  const char* const policy = "window:sink_frames=1,positions=relative";
  KvStore small(geometry(KvPrecision::int8), 2 * kChunk, choose_kv(policy).make());
  KvStore full(geometry(KvPrecision::full), 2 * kChunk, choose_kv(policy).make());
  for (int64_t chunk = 0; chunk < 80; ++chunk)
    for (KvStore* store : {&small, &full}) {
      run_chunk(*store, chunk);
      finish(*store, chunk);
    }
  for (int layer = 0; layer < kLayers; ++layer) {
    const KeyValue a = small.history(layer), b = full.history(layer);
    // A rotation mixes two numbers, each off by half a scale at most.
    const at::Tensor scale = own(0, layer, 0, at::kFloat).k.narrow(1, 0, kFrame).abs().amax(-1, true) / 127;
    const at::Tensor error = (a.k - b.k).narrow(1, 0, kFrame).abs();
    EXPECT_TRUE((error <= scale * (0.5 * std::sqrt(2.0)) + 1e-5).all().item<bool>());
    EXPECT_GT(error.max().item<double>(), 0);
    EXPECT_FALSE(b.k.narrow(1, 0, kFrame).equal(own(0, layer, 0, at::kFloat).k.narrow(1, 0, kFrame)))
        << "moved";
    expect_rounded(a.v, b.v);
  }
}

TEST(KvInt8, AnUnknownPrecisionNamesTheChoices) {
  EXPECT_EQ(choose_kv_precision(""), KvPrecision::full);
  EXPECT_EQ(choose_kv_precision("auto"), KvPrecision::full);
  EXPECT_EQ(choose_kv_precision("full"), KvPrecision::full);
  EXPECT_EQ(choose_kv_precision("int8"), KvPrecision::int8);
  for (const char* name : {"int4", "INT8", "8"}) {
    try {
      choose_kv_precision(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
      for (const char* word : {name, "auto", "full", "int8"})
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}
