// SPDX-License-Identifier: LGPL-2.1-or-later
// History in 8 bits in whole streams of the model that ships: how far the pictures are from those of full precision, what
// long streams become, and what is reported. The figures are printed; the bounds leave room for other processors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "flowcache.h"

namespace {

struct CloseKv {
  void operator()(fc_engine* engine) const { fc_engine_unref(engine); }
  void operator()(fc_stream* stream) const { fc_stream_close(stream); }
  void operator()(fc_chunk* chunk) const { fc_chunk_unref(chunk); }
};
using KvEngine = std::unique_ptr<fc_engine, CloseKv>;
using KvStream = std::unique_ptr<fc_stream, CloseKv>;

KvEngine engine_with(const char* kv_precision, const char* precision = "fp32", uint64_t memory_limit = 0) {
  fc_engine_config config = fc_engine_config_init();
  config.device = "cpu";
  config.precision = precision;
  config.kv_precision = kv_precision;
  config.memory_limit = memory_limit;
  config.width = 256;
  config.height = 160;
  fc_engine* engine = nullptr;
  EXPECT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_OK) << fc_last_error();
  return KvEngine(engine);
}

struct KvAsked {
  std::string kv, cache = "none";
  uint64_t budget = 0;
  uint32_t steps = 4;
  double guidance = FC_AUTO;
};

KvStream stream_of(const KvEngine& engine, const KvAsked& asked) {
  fc_stream_config config = fc_stream_config_init();
  config.prompt = "orange fire";
  config.seed = 3;
  config.cache = asked.cache.c_str();
  config.kv_cache = asked.kv.c_str();
  config.kv_budget = asked.budget;
  config.steps = asked.steps;
  config.guidance_scale = asked.guidance;
  config.width = 256;
  config.height = 160;
  fc_stream* stream = nullptr;
  EXPECT_EQ(fc_stream_open(engine.get(), &config, &stream), FC_OK) << fc_last_error();
  return KvStream(stream);
}

struct Picture {
  std::vector<uint8_t> rgba;  // of all frames of a chunk
  std::string decisions;
};

Picture next_picture(const KvStream& stream) {
  fc_chunk* raw = nullptr;
  EXPECT_EQ(fc_stream_next(stream.get(), &raw), FC_OK) << fc_last_error();
  const std::unique_ptr<fc_chunk, CloseKv> chunk(raw);
  fc_chunk_info info = fc_chunk_info_init();
  EXPECT_EQ(fc_chunk_describe(chunk.get(), &info), FC_OK);
  const size_t bytes = size_t{4} * info.width * info.height;
  Picture picture{std::vector<uint8_t>(bytes * info.frames),
                  std::to_string(info.steps_computed) + "+" + std::to_string(info.steps_reused)};
  for (uint32_t frame = 0; frame < info.frames; ++frame) {
    fc_planes planes = fc_planes_init();
    planes.plane[0] = picture.rgba.data() + frame * bytes;
    planes.stride[0] = static_cast<int32_t>(4 * info.width);
    EXPECT_EQ(fc_chunk_write(chunk.get(), frame, &planes), FC_OK) << fc_last_error();
  }
  return picture;
}

// Mean and contrast of grey, 0..1.
struct Look {
  double mean = 0, contrast = 0;
};

Look look_of(const Picture& picture) {
  double sum = 0, squares = 0;
  const size_t pixels = picture.rgba.size() / 4;
  for (size_t i = 0; i < pixels; ++i) {
    const uint8_t* p = picture.rgba.data() + 4 * i;
    const double grey = (p[0] + p[1] + p[2]) / 765.0;
    sum += grey;
    squares += grey * grey;
  }
  const double mean = sum / static_cast<double>(pixels);
  return {mean, std::sqrt(std::max(0.0, squares / static_cast<double>(pixels) - mean * mean))};
}

double mean_squared_error(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.rgba.size(), b.rgba.size());
  double sum = 0;
  for (size_t i = 0; i < a.rgba.size(); ++i) sum += std::pow(a.rgba[i] - b.rgba[i], 2);
  return sum / (0.75 * static_cast<double>(a.rgba.size()));  // alpha is the same everywhere
}

double decibels(double error) {
  return 10 * std::log10(255.0 * 255.0 / error);
}

fc_stream_stats kv_stats(const KvStream& stream) {
  fc_stream_stats stats = fc_stream_stats_init();
  EXPECT_EQ(fc_stream_get_stats(stream.get(), &stats), FC_OK);
  return stats;
}

uint64_t budget_of_chunks(const KvEngine& engine, int chunks, uint64_t bytes_of_number) {
  fc_stream_stats one = kv_stats(stream_of(engine, {.kv = "window"}));
  return one.kv_budget / 3 * chunks * bytes_of_number / 4;  // the model's history is three chunks
}

TEST(KvPrecision, PicturesAreNearThoseOfFullPrecisionWithEveryPolicy) {
  const KvEngine full = engine_with("full"), small = engine_with("int8");
  std::printf("%-46s %8s %8s\n", "kv-cache", "dB", "last dB");
  for (const char* policy :
       {"full", "window", "window:sink_frames=2", "window:sink_frames=2,positions=relative", "flowcache",
        "packcache:positions=relative", "ca2", "decoprune:recent_chunks=1"}) {
    // `full` has room for all; the others hold two chunks and must drop.
    const int chunks = std::strcmp(policy, "full") == 0 ? 5 : 2;
    const KvStream a = stream_of(full, {.kv = policy, .budget = budget_of_chunks(full, chunks, 4)});
    const KvStream b = stream_of(small, {.kv = policy, .budget = budget_of_chunks(small, chunks, 4)});
    double error = 0, last = 0;
    for (int chunk = 0; chunk < 5; ++chunk) {
      const Picture wanted = next_picture(a), got = next_picture(b);
      EXPECT_EQ(wanted.decisions, got.decisions) << policy;
      last = mean_squared_error(wanted, got);
      error += last / 5;
      EXPECT_EQ(last == 0, chunk == 0) << policy << ": only the first chunk attends itself alone";
    }
    EXPECT_EQ(kv_stats(b).kv_bytes, kv_stats(b).kv_budget) << policy;
    EXPECT_GT(error, 0) << policy << ": nothing was rounded";
    EXPECT_GT(decibels(error), 40) << policy;
    std::printf("%-46s %8.1f %8.1f\n", policy, decibels(error), decibels(last));
  }
}

TEST(KvPrecision, ReuseDecidesAsWithFullPrecision) {
  const KvEngine full = engine_with("full"), small = engine_with("int8");
  for (const char* cache : {"flowcache", "ramp:computed=3"}) {
    const KvStream a = stream_of(full, {.kv = "window", .cache = cache, .steps = 12});
    const KvStream b = stream_of(small, {.kv = "window", .cache = cache, .steps = 12});
    for (int chunk = 0; chunk < 4; ++chunk)
      EXPECT_EQ(next_picture(a).decisions, next_picture(b).decisions) << cache;
    EXPECT_GT(kv_stats(a).steps_reused, 0u) << cache;
  }
}

// Mean and contrast of the last third of the chunks lie where those of full precision do. FLOWCACHE_TEST_CHUNKS: how many
// chunks (15).
TEST(KvPrecision, LongStreamsDoNotDrift) {
  const char* const asked = std::getenv("FLOWCACHE_TEST_CHUNKS");
  const int chunks = asked ? std::max(3, std::atoi(asked)) : 15, late_ones = chunks / 3;
  const KvEngine full = engine_with("full"), small = engine_with("int8");
  for (const char* policy : {"window", "flowcache"}) {
    std::vector<Look> looks[2];
    for (const int kind : {0, 1}) {
      const KvStream stream =
          stream_of(kind == 0 ? full : small, {.kv = policy, .cache = "ramp:computed=3", .steps = 24});
      for (int chunk = 0; chunk < chunks; ++chunk) looks[kind].push_back(look_of(next_picture(stream)));
    }
    for (double Look::*figure : {&Look::mean, &Look::contrast}) {
      const auto less = [&](const Look& a, const Look& b) { return a.*figure < b.*figure; };
      const double least = (*std::min_element(looks[0].begin(), looks[0].end(), less)).*figure;
      const double most = (*std::max_element(looks[0].begin(), looks[0].end(), less)).*figure;
      double late[2] = {0, 0};
      for (const int kind : {0, 1})
        for (int chunk = chunks - late_ones; chunk < chunks; ++chunk)
          late[kind] += looks[kind][chunk].*figure / late_ones;
      std::printf("%-10s %-8s full %.4f to %.4f, last %d of %d chunks: %.4f with full, %.4f with int8\n",
                  policy, figure == &Look::mean ? "mean" : "contrast", least, most, late_ones, chunks,
                  late[0], late[1]);
      EXPECT_GE(late[1], least) << policy;
      EXPECT_LE(late[1], most) << policy;
    }
  }
}

TEST(KvPrecision, TheSameBytesHoldMoreAndTheSameTokensTakeLess) {
  for (const auto& [precision, bytes] : {std::pair("fp32", 4.0), std::pair("bf16", 2.0)}) {
    const KvEngine full = engine_with("full", precision), small = engine_with("int8", precision);
    const fc_stream_stats a = kv_stats(stream_of(full, {.kv = "window"}));
    const fc_stream_stats b = kv_stats(stream_of(small, {.kv = "window"}));
    // 64 numbers and a scale of four bytes.
    EXPECT_DOUBLE_EQ(static_cast<double>(a.kv_budget) / static_cast<double>(b.kv_budget), 64 * bytes / 68)
        << precision;
    EXPECT_LT(b.kv_allocated, a.kv_allocated) << precision;
    // As many bytes hold 64 * bytes / 68 times as many tokens: full ends later.
    const KvAsked asked{.kv = "full", .budget = a.kv_budget, .steps = 1};
    int chunks[2] = {0, 0};
    for (const int kind : {0, 1}) {
      const KvStream stream = stream_of(kind == 0 ? full : small, asked);
      fc_chunk* chunk = nullptr;
      while (fc_stream_next(stream.get(), &chunk) == FC_OK) {
        fc_chunk_unref(chunk);
        ++chunks[kind];
      }
      EXPECT_LE(kv_stats(stream).kv_bytes, a.kv_budget);
    }
    EXPECT_EQ(chunks[0], 3 + 1) << precision;
    EXPECT_EQ(chunks[1], static_cast<int>(3 * 64 * bytes / 68) + 1) << precision;
  }
}

TEST(KvPrecision, FullIsTheDefaultAndUnknownOnesNameTheChoices) {
  const KvEngine given = engine_with("full"), automatic = engine_with("auto"), unset = engine_with(nullptr);
  const KvAsked asked{.kv = "window", .steps = 2};
  const KvStream streams[] = {stream_of(given, asked), stream_of(automatic, asked), stream_of(unset, asked)};
  for (int chunk = 0; chunk < 3; ++chunk) {
    const Picture wanted = next_picture(streams[0]);
    for (const int other : {1, 2}) EXPECT_EQ(next_picture(streams[other]).rgba, wanted.rgba);
  }
  fc_engine_config config = fc_engine_config_init();
  config.kv_precision = "fp4";
  fc_engine* engine = nullptr;
  EXPECT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_ERROR_ARGUMENT);
  EXPECT_EQ(engine, nullptr);
  for (const char* word : {"fp4", "auto", "full", "int8"})
    EXPECT_NE(std::string(fc_last_error()).find(word), std::string::npos) << fc_last_error();
}

}  // namespace
