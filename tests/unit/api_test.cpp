// SPDX-License-Identifier: LGPL-2.1-or-later
// The C API as a program sees it: the shared library and the header, with the model that ships.
#include <gtest/gtest.h>
#include <sched.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "flowcache.h"

namespace {

template <class Struct>
Struct sized() {
  Struct s{};
  s.size = sizeof s;
  return s;
}

fc_stream_config default_stream() {
  auto config = sized<fc_stream_config>();
  config.prompt = "orange fire";
  config.steps = 4;
  return config;
}

fc_prompt_change change_to(const char* text) {
  auto change = sized<fc_prompt_change>();
  change.text = text;
  change.at_chunk = FC_NEXT_CHUNK;
  return change;
}

bool says(const char* part) {
  return std::strstr(fc_last_error(), part) != nullptr;
}

class Api : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto config = sized<fc_engine_config>();
    config.device = "cpu";
    ASSERT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_OK) << fc_last_error();
  }
  static void TearDownTestSuite() { fc_engine_unref(engine); }
  static fc_engine* engine;
};
fc_engine* Api::engine = nullptr;

TEST(ApiWithoutModel, DescribesTheShippedModelWithoutLoadingIt) {
  auto info = sized<fc_model_info>();
  ASSERT_EQ(fc_model_describe(nullptr, &info), FC_OK) << fc_last_error();
  EXPECT_STREQ(info.name, "ambient");
  EXPECT_GT(info.width, 0u);
  EXPECT_GT(info.kv_bytes_per_chunk, 0u);
  EXPECT_GT(info.weight_bytes, 1000000u);
  EXPECT_EQ(info.lag, info.steps);
}

TEST(ApiWithoutModel, PoliciesAreListedWithTheirOptions) {
  auto info = sized<fc_policy_info>();
  uint32_t count = 0;
  bool flowcache = false;
  while (fc_policy_describe(count, &info) == FC_OK) {
    EXPECT_GT(std::strlen(info.summary), 10u) << info.name;
    flowcache |= info.kind == FC_POLICY_REUSE && std::string(info.name) == "flowcache" &&
                 std::strstr(info.options, "warmup");
    ++count;
  }
  EXPECT_TRUE(flowcache);
  EXPECT_TRUE(says("there are"));
}

TEST(ApiWithoutModel, NullAndUnsizedArgumentsAreErrors) {
  fc_engine* engine = nullptr;
  fc_engine_config unsized{};
  EXPECT_EQ(fc_engine_open(nullptr, nullptr, nullptr, &engine), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_engine_open(&unsized, nullptr, nullptr, &engine), FC_ERROR_ARGUMENT);
  EXPECT_TRUE(says("sizeof"));
  EXPECT_EQ(fc_engine_open(&unsized, nullptr, nullptr, nullptr), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_stream_open(nullptr, nullptr, nullptr), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_stream_next(nullptr, nullptr), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_stream_prompt(nullptr, nullptr, nullptr), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_chunk_describe(nullptr, nullptr), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_chunk_write(nullptr, 0, nullptr), FC_ERROR_ARGUMENT);
  fc_engine_unref(nullptr);
  fc_stream_close(nullptr);
  fc_chunk_unref(nullptr);
  fc_stream_cancel(nullptr);
  EXPECT_STREQ(fc_stream_unknown_words(nullptr), "");
}

TEST(ApiWithoutModel, AnOlderCallerGetsTheFieldsItKnows) {
  struct {
    fc_model_info info;
    char guard;
  } old{};
  old.info.size = offsetof(fc_model_info, width);
  old.info.width = 77;
  ASSERT_EQ(fc_model_describe(nullptr, &old.info), FC_OK);
  EXPECT_STREQ(old.info.name, "ambient");
  EXPECT_EQ(old.info.width, 77u) << "written past the caller's struct";
}

TEST(ApiWithoutModel, OpeningFailsWithASentence) {
  struct {
    const char *model, *device, *precision;
    uint64_t limit;
    fc_status status;
    const char* part;
  } const table[] = {
      {"/nonexistent/model", "cpu", nullptr, 0, FC_ERROR_NOT_FOUND, "/nonexistent/model"},
      {"/proc", "cpu", nullptr, 0, FC_ERROR_NOT_FOUND, "model.json"},
      {nullptr, "tpu", nullptr, 0, FC_ERROR_ARGUMENT, "tpu"},
      {nullptr, "cpu", "int3", 0, FC_ERROR_ARGUMENT, "int3"},
      {nullptr, "cpu", nullptr, 1000, FC_ERROR_MEMORY, "MB"},
  };
  for (const auto& row : table) {
    auto config = sized<fc_engine_config>();
    config.model = row.model;
    config.device = row.device;
    config.precision = row.precision;
    config.memory_limit = row.limit;
    fc_engine* engine = reinterpret_cast<fc_engine*>(1);
    EXPECT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), row.status) << fc_last_error();
    EXPECT_TRUE(says(row.part)) << fc_last_error();
    EXPECT_EQ(engine, nullptr);
  }
}

TEST(ApiWithoutModel, SeveralDevicesAreAskedForInOneWay) {
  struct Row {
    const char *device, *devices, *attention, *listen, *on_lost, *said;
  };
  for (const Row& row : {Row{"cuda", "cpu,cpu", nullptr, nullptr, nullptr, "contradict each other"},
                         Row{nullptr, "cpu,,cpu", nullptr, nullptr, nullptr, "one is empty"},
                         Row{"cpu", nullptr, "rows", nullptr, nullptr, "are for several devices"},
                         Row{"cpu", nullptr, nullptr, nullptr, "end", "are for several devices"},
                         Row{nullptr, "cpu,cpu", nullptr, nullptr, "wait", "use go_on or end"},
                         Row{nullptr, "cpu", nullptr, "127.0.0.1:0", nullptr, "are for several devices"},
                         Row{nullptr, "cpu,cpu", "columns", nullptr, nullptr, "use auto, heads or rows"},
                         Row{nullptr, "cpu,join", nullptr, nullptr, nullptr, "set listen"}}) {
    auto config = sized<fc_engine_config>();
    config.device = row.device;
    config.devices = row.devices;
    config.attention_split = row.attention;
    config.listen = row.listen;
    config.on_lost_rank = row.on_lost;
    fc_engine* engine = nullptr;
    EXPECT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_ERROR_ARGUMENT);
    EXPECT_TRUE(says(row.said)) << fc_last_error();
  }
}

TEST(ApiWithoutModel, MoreThreadsThanTheProcessMayUseAreRefused) {
  auto config = sized<fc_engine_config>();
  config.device = "cpu";
  config.threads = std::thread::hardware_concurrency() + 1;
  fc_engine* engine = nullptr;
  EXPECT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_ERROR_ARGUMENT);
  EXPECT_TRUE(says(("threads=" + std::to_string(config.threads)).c_str())) << fc_last_error();
}

size_t threads_of_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task"), end;
  return static_cast<size_t>(std::distance(tasks, end));
}

TEST(ApiWithoutModel, AThreadOfOneProcessorStartsNoOthers) {
  std::thread([] {
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
      if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    const size_t before = threads_of_process();
    auto config = sized<fc_engine_config>();
    config.device = "cpu";
    fc_engine* engine = nullptr;
    ASSERT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_OK) << fc_last_error();
    auto stream_config = default_stream();
    stream_config.steps = 1;
    fc_stream* stream = nullptr;
    fc_chunk* chunk = nullptr;
    ASSERT_EQ(fc_stream_open(engine, &stream_config, &stream), FC_OK) << fc_last_error();
    ASSERT_EQ(fc_stream_next(stream, &chunk), FC_OK) << fc_last_error();
    EXPECT_EQ(threads_of_process(), before);
    fc_chunk_unref(chunk);
    fc_stream_close(stream);
    fc_engine_unref(engine);
  }).join();
}

// The check of memory uses the picture size that the streams will have.
TEST(ApiWithoutModel, ThePreflightFollowsTheSize) {
  auto config = sized<fc_engine_config>();
  config.device = "cpu";
  config.precision = "fp32";
  const auto fits = [&](uint32_t width, uint32_t height, uint64_t limit) {
    config.width = width;
    config.height = height;
    config.memory_limit = limit;
    fc_engine* engine = nullptr;
    const fc_status status = fc_engine_open(&config, nullptr, nullptr, &engine);
    fc_engine_unref(engine);
    EXPECT_TRUE(status == FC_OK || (status == FC_ERROR_MEMORY && says("smaller picture"))) << fc_last_error();
    return status == FC_OK;
  };
  uint64_t limit = 200'000'000;  // bytes; lowered until the native size does not fit
  while (limit > 0 && fits(0, 0, limit)) limit = limit * 9 / 10;
  EXPECT_FALSE(fits(640, 384, limit));
  EXPECT_TRUE(fits(320, 192, limit)) << limit;
  config.width = 500;
  config.height = 280;
  fc_engine* engine = nullptr;
  EXPECT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_ERROR_ARGUMENT);
  EXPECT_TRUE(says("nearest"));
}

TEST(ApiWithoutModel, EveryPrecisionLoadsUnderItsName) {
  for (const char* precision : {"fp32", "bf16", "fp8", "int8"}) {
    auto config = sized<fc_engine_config>();
    config.device = "cpu";
    config.precision = precision;
    fc_engine* engine = nullptr;
    ASSERT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_OK) << fc_last_error();
    EXPECT_STREQ(fc_engine_precision(engine), precision);
    fc_engine_unref(engine);
  }
}

TEST(ApiWithoutModel, Bf16IsChosenWhereItIsNotEmulatedAndAskingForItElsewhereSaysSo) {
  auto cpu = sized<fc_cpu_info>();
  ASSERT_EQ(fc_cpu_describe(&cpu), FC_OK) << fc_last_error();
  for (const char* given : {cpu.processor, cpu.kernels, cpu.libtorch, cpu.onednn}) EXPECT_STRNE(given, "");
  const bool emulated = *cpu.bf16_emulated != '\0';
  std::vector<std::string> warnings;
  const auto keep = [](void* user, fc_log_level level, const char* message) {
    if (level == FC_LOG_WARNING && std::strstr(message, "emulated"))
      static_cast<std::vector<std::string>*>(user)->push_back(message);
  };
  fc_set_log_function(keep, &warnings);
  for (const char* precision : {"auto", "fp32", "bf16", "fp8", "int8"}) {
    warnings.clear();
    auto config = sized<fc_engine_config>();
    config.device = "cpu";
    config.precision = precision;
    fc_engine* engine = nullptr;
    ASSERT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_OK) << fc_last_error();
    const std::string asked = precision, got = fc_engine_precision(engine);
    EXPECT_EQ(got, asked != "auto" ? asked : emulated ? "fp32" : "bf16");
    ASSERT_EQ(warnings.size(), emulated && asked != "auto" && asked != "fp32" ? 1u : 0u) << precision;
    for (const std::string& said : warnings)
      EXPECT_NE(said.find(cpu.bf16_emulated), std::string::npos) << said;
    fc_engine_unref(engine);
  }
  fc_set_log_function(nullptr, nullptr);
}

TEST(ApiWithoutModel, LoadingReportsProgressAndCanBeCancelled) {
  auto config = sized<fc_engine_config>();
  config.device = "cpu";
  fc_engine* engine = nullptr;
  std::vector<double> seen;
  const auto collect = [](void* user, const char*, double fraction) {
    static_cast<std::vector<double>*>(user)->push_back(fraction);
    return 0;
  };
  ASSERT_EQ(fc_engine_open(&config, collect, &seen, &engine), FC_OK);
  fc_engine_unref(engine);
  ASSERT_GE(seen.size(), 3u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), 1.0);
  EXPECT_EQ(fc_engine_open(
                &config, [](void*, const char*, double) { return 1; }, nullptr, &engine),
            FC_CANCELLED);
}

TEST_F(Api, AStreamMakesChunksOfMovingPictures) {
  const fc_stream_config config = default_stream();
  fc_stream* stream = nullptr;
  ASSERT_EQ(fc_stream_open(engine, &config, &stream), FC_OK) << fc_last_error();
  fc_chunk* chunk = nullptr;
  ASSERT_EQ(fc_stream_next(stream, &chunk), FC_OK) << fc_last_error();
  auto info = sized<fc_chunk_info>();
  ASSERT_EQ(fc_chunk_describe(chunk, &info), FC_OK);
  EXPECT_EQ(info.frames, 12u);
  EXPECT_EQ(info.steps_computed + info.steps_reused, 4u);
  EXPECT_GT(info.seconds, 0);
  std::vector<uint8_t> first(size_t{4} * info.width * info.height), last(first.size());
  auto planes = sized<fc_planes>();
  planes.stride[0] = 4 * info.width;
  planes.plane[0] = first.data();
  ASSERT_EQ(fc_chunk_write(chunk, 0, &planes), FC_OK) << fc_last_error();
  planes.plane[0] = last.data();
  ASSERT_EQ(fc_chunk_write(chunk, 11, &planes), FC_OK);
  EXPECT_NE(first, last) << "nothing moves";
  EXPECT_EQ(first[3], 255) << "alpha";
  const auto [low, high] = std::minmax_element(first.begin(), first.end());
  EXPECT_GT(*high - *low, 30) << "a flat picture";
  fc_stream_close(stream);
  EXPECT_EQ(fc_chunk_write(chunk, 5, &planes), FC_OK) << "chunks outlive their stream";
  fc_chunk* again = fc_chunk_ref(chunk);
  fc_chunk_unref(chunk);
  EXPECT_EQ(fc_chunk_describe(again, &info), FC_OK);
  fc_chunk_unref(again);
}

// A chunk of strength 0 is the input as the codec sees it; of strength 1 it is what it is unfed.
TEST_F(Api, AStreamRepaintsWhatItIsFed) {
  auto config = default_stream();
  config.width = 256;
  config.height = 160;
  fc_stream *stream = nullptr, *unfed = nullptr;
  ASSERT_EQ(fc_stream_open(engine, &config, &stream), FC_OK) << fc_last_error();
  ASSERT_EQ(fc_stream_open(engine, &config, &unfed), FC_OK) << fc_last_error();
  uint32_t count = 0;
  ASSERT_EQ(fc_stream_feed_frames(stream, &count), FC_OK) << fc_last_error();
  ASSERT_EQ(count, 12u);
  // Left half bright, right half dark.
  std::vector<uint8_t> picture(size_t{4} * 256 * 160);
  for (size_t i = 0; i < picture.size(); ++i) picture[i] = i / 4 % 256 < 128 ? 220 : 30;
  std::vector<fc_planes> planes(count, fc_planes_init());
  for (fc_planes& one : planes) {
    one.plane[0] = picture.data();
    one.stride[0] = 4 * 256;
  }
  auto feed = sized<fc_feed>();
  feed.frames = planes.data();
  feed.count = count;
  uint64_t number = 99;
  const auto next = [&](fc_stream* from, uint32_t frame, double strength) {
    fc_chunk* chunk = nullptr;
    EXPECT_EQ(fc_stream_next(from, &chunk), FC_OK) << fc_last_error();
    auto info = sized<fc_chunk_info>();
    EXPECT_EQ(fc_chunk_describe(chunk, &info), FC_OK);
    EXPECT_EQ(info.strength, strength);
    std::vector<uint8_t> pixels(picture.size());
    auto out = sized<fc_planes>();
    out.plane[0] = pixels.data();
    out.stride[0] = 4 * 256;
    EXPECT_EQ(fc_chunk_write(chunk, frame, &out), FC_OK);
    fc_chunk_unref(chunk);
    return pixels;
  };
  const auto half_of = [](const std::vector<uint8_t>& pixels, size_t half) {
    double sum = 0;
    for (size_t y = 0; y < 160; ++y)
      for (size_t x = 128 * half + 32; x < 128 * half + 96; ++x) sum += pixels[4 * (y * 256 + x) + 1];
    return sum / (160 * 64);
  };
  double seconds = -1;
  ASSERT_EQ(fc_stream_rehearse(stream, 0.5, &seconds), FC_OK) << fc_last_error();
  EXPECT_GT(seconds, 0);
  EXPECT_EQ(fc_stream_rehearse(stream, 1.5, &seconds), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_stream_rehearse(stream, 1, nullptr), FC_ERROR_ARGUMENT);
  feed.strength = 1;
  ASSERT_EQ(fc_stream_feed(stream, &feed, &number), FC_OK) << fc_last_error();
  EXPECT_EQ(number, 0u);
  EXPECT_EQ(next(stream, 11, 1), next(unfed, 11, 1));
  EXPECT_EQ(fc_stream_rehearse(stream, 1, &seconds), FC_ERROR_ARGUMENT);
  EXPECT_TRUE(says("before its first chunk")) << fc_last_error();
  feed.strength = 0;
  ASSERT_EQ(fc_stream_feed(stream, &feed, &number), FC_OK) << fc_last_error();
  EXPECT_EQ(number, 1u);
  const std::vector<uint8_t> seen = next(stream, 11, 0);
  EXPECT_NEAR(half_of(seen, 0), 220, 20);
  EXPECT_NEAR(half_of(seen, 1), 30, 20);
  feed.strength = 0.5;
  ASSERT_EQ(fc_stream_feed(stream, &feed, nullptr), FC_OK) << fc_last_error();
  const std::vector<uint8_t> between = next(stream, 11, 0.5);
  EXPECT_GT(half_of(between, 0), half_of(between, 1) + 20) << "the input's structure is kept";

  const auto refused = [&](const char* part) {
    EXPECT_EQ(fc_stream_feed(stream, &feed, nullptr), FC_ERROR_ARGUMENT);
    EXPECT_TRUE(says(part)) << fc_last_error();
  };
  feed.strength = NAN;
  refused("strength=nan");
  feed.strength = 0.5;
  feed.count = 11;
  refused("takes 12");
  feed.count = 0;
  refused("1..4096");
  feed.count = count;
  planes[3].stride[0] = 4;
  refused("stride");
  planes[3].stride[0] = 4 * 256;
  planes[3].memory = FC_MEMORY_CUDA;  // which it is not, whether or not there is a GPU
  EXPECT_EQ(fc_stream_feed(stream, &feed, nullptr), FC_ERROR_DEVICE);
  EXPECT_TRUE(says("CUDA")) << fc_last_error();
  planes[3].memory = FC_MEMORY_HOST;
  feed.frames = nullptr;
  refused("frames is NULL");
  feed.frames = planes.data();
  feed.restart = 2;
  refused("restart=2");
  feed.restart = 0;
  feed.follow_motion = 2;
  refused("follow_motion=2");
  EXPECT_EQ(fc_stream_feed(stream, nullptr, nullptr), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_stream_feed_frames(nullptr, &count), FC_ERROR_ARGUMENT);
  fc_stream_close(stream);
  fc_stream_close(unfed);
}

TEST_F(Api, PicturesHaveTheSizeThatWasAskedFor) {
  auto model = sized<fc_model_info>();
  ASSERT_EQ(fc_engine_describe(engine, &model), FC_OK);
  EXPECT_EQ(model.good[0].width, model.width);
  EXPECT_EQ(model.good[0].height, model.height);
  EXPECT_LT(model.least.width, model.width);
  EXPECT_GT(model.most.height, model.height);
  int sizes = 0;
  for (const fc_picture_size& size : model.good) {
    if (size.width == 0) break;
    ++sizes;
    fc_stream_config config = default_stream();
    config.width = size.width;
    config.height = size.height;
    fc_stream* stream = nullptr;
    ASSERT_EQ(fc_stream_open(engine, &config, &stream), FC_OK) << fc_last_error();
    fc_chunk* chunk = nullptr;
    ASSERT_EQ(fc_stream_next(stream, &chunk), FC_OK) << fc_last_error();
    auto info = sized<fc_chunk_info>();
    ASSERT_EQ(fc_chunk_describe(chunk, &info), FC_OK);
    EXPECT_EQ(info.width, size.width);
    EXPECT_EQ(info.height, size.height);
    fc_chunk_unref(chunk);
    fc_stream_close(stream);
  }
  EXPECT_GE(sizes, 3);
}

TEST_F(Api, ImpossibleSizesNameTheNearest) {
  struct {
    uint32_t width, height;
    uint64_t kv_budget;
    const char* part;
  } const table[] = {{500, 280, 0, "500x280"},
                     {500, 280, 0, "nearest: 480x256 and 512x288"},
                     {8192, 8192, 0, "nearest"},
                     {0, 288, 0, "0x288"},
                     {384, 224, 1000, "raise kv-budget, or ask for a smaller picture"}};
  for (const auto& row : table) {
    fc_stream_config config = default_stream();
    config.width = row.width;
    config.height = row.height;
    config.kv_budget = row.kv_budget;
    fc_stream* stream = nullptr;
    EXPECT_EQ(fc_stream_open(engine, &config, &stream), FC_ERROR_ARGUMENT);
    EXPECT_TRUE(says(row.part)) << fc_last_error();
    EXPECT_EQ(stream, nullptr);
  }
}

TEST_F(Api, UnknownWordsStayWhatTheyWereForTheThreadThatAsked) {
  const fc_stream_config config = default_stream();
  fc_stream* stream = nullptr;
  ASSERT_EQ(fc_stream_open(engine, &config, &stream), FC_OK);
  fc_prompt_change change = change_to("blue xylophone snow");
  ASSERT_EQ(fc_stream_prompt(stream, &change, nullptr), FC_OK);
  const char* words = fc_stream_unknown_words(stream);
  std::thread other([&] {
    const std::string longer = "red " + std::string(200, 'q');
    change.text = longer.c_str();
    EXPECT_EQ(fc_stream_prompt(stream, &change, nullptr), FC_OK);
    EXPECT_STREQ(fc_stream_unknown_words(stream), longer.c_str() + 4);
  });
  other.join();
  EXPECT_STREQ(words, "xylophone");
  fc_stream_close(stream);
}

TEST_F(Api, PromptsCarryReceiptsAndNameUnknownWords) {
  const fc_stream_config config = default_stream();
  fc_stream* stream = nullptr;
  ASSERT_EQ(fc_stream_open(engine, &config, &stream), FC_OK);
  fc_prompt_change change = change_to("blue xylophone snow");
  uint64_t ticket = 0;
  ASSERT_EQ(fc_stream_prompt(stream, &change, &ticket), FC_OK);
  EXPECT_GT(ticket, 0u);
  EXPECT_STREQ(fc_stream_unknown_words(stream), "xylophone");
  fc_chunk* chunk = nullptr;
  ASSERT_EQ(fc_stream_next(stream, &chunk), FC_OK);
  auto info = sized<fc_chunk_info>();
  fc_chunk_describe(chunk, &info);
  EXPECT_EQ(info.prompt_ticket, ticket);
  fc_chunk_unref(chunk);
  for (const std::string& bad : {std::string(9000, 'a'), std::string("\xc3\x28")}) {
    change.text = bad.c_str();
    EXPECT_EQ(fc_stream_prompt(stream, &change, nullptr), FC_ERROR_ARGUMENT);
  }
  change.text = "";
  EXPECT_EQ(fc_stream_prompt(stream, &change, nullptr), FC_OK) << "an empty prompt is a prompt";
  fc_stream_close(stream);
}

// All frames of a stream's next chunk.
std::vector<uint8_t> next_pixels(fc_stream* stream) {
  fc_chunk* chunk = nullptr;
  EXPECT_EQ(fc_stream_next(stream, &chunk), FC_OK) << fc_last_error();
  auto info = sized<fc_chunk_info>();
  fc_chunk_describe(chunk, &info);
  std::vector<uint8_t> all(size_t{4} * info.width * info.height * info.frames);
  auto planes = sized<fc_planes>();
  planes.stride[0] = 4 * info.width;
  for (uint32_t i = 0; i < info.frames; ++i) {
    planes.plane[0] = all.data() + all.size() / info.frames * i;
    EXPECT_EQ(fc_chunk_write(chunk, i, &planes), FC_OK) << fc_last_error();
  }
  fc_chunk_unref(chunk);
  return all;
}

TEST_F(Api, AStreamThatIsResetIsAFreshOneWithEveryKvPolicy) {
  auto policy = sized<fc_policy_info>();
  for (uint32_t i = 0; fc_policy_describe(i, &policy) == FC_OK; ++i) {
    if (policy.kind != FC_POLICY_KV) continue;
    fc_stream_config config = default_stream();
    config.steps = 2;
    config.kv_cache = policy.name;
    config.seed = 3;
    fc_stream *fresh = nullptr, *used = nullptr;
    ASSERT_EQ(fc_stream_open(engine, &config, &fresh), FC_OK) << fc_last_error();
    config.seed = 4;
    ASSERT_EQ(fc_stream_open(engine, &config, &used), FC_OK) << fc_last_error();
    next_pixels(used);
    ASSERT_EQ(fc_stream_reset(used, 3), FC_OK) << policy.name << ": " << fc_last_error();
    EXPECT_EQ(next_pixels(used), next_pixels(fresh)) << policy.name;
    fc_stream_close(fresh);
    fc_stream_close(used);
  }
}

// The statistics of a stream that is opened with these settings.
fc_stream_stats in_force(fc_engine* engine, double threshold, double guidance, const char* cache = nullptr) {
  fc_stream_config config = default_stream();
  config.cache = cache;
  config.cache_threshold = threshold;
  config.guidance_scale = guidance;
  fc_stream* stream = nullptr;
  auto stats = sized<fc_stream_stats>();
  EXPECT_EQ(fc_stream_open(engine, &config, &stream), FC_OK) << fc_last_error();
  EXPECT_EQ(fc_stream_get_stats(stream, &stats), FC_OK);
  fc_stream_close(stream);
  return stats;
}

TEST_F(Api, ZeroIsTheDefaultAndNeverIsAWordOfItsOwn) {
  auto model = sized<fc_model_info>();
  ASSERT_EQ(fc_engine_describe(engine, &model), FC_OK);
  const fc_stream_stats zero = in_force(engine, 0, 0), automatic = in_force(engine, FC_AUTO, FC_AUTO);
  EXPECT_EQ(zero.cache_threshold, automatic.cache_threshold);
  EXPECT_EQ(zero.guidance_scale, model.guidance_scale);
  EXPECT_EQ(zero.kv_allocated, automatic.kv_allocated) << "as many branches";
  EXPECT_GT(in_force(engine, 0, 0, "teacache").cache_threshold, 0) << "the policy's own";
  EXPECT_EQ(in_force(engine, FC_NEVER, 0).cache_threshold, 0);
  EXPECT_EQ(in_force(engine, 0, 1).guidance_scale, 1);
}

TEST_F(Api, TuningToZeroGoesBackToTheDefault) {
  fc_stream_config config = default_stream();
  config.cache = "teacache";
  config.guidance_scale = 3;
  fc_stream* stream = nullptr;
  ASSERT_EQ(fc_stream_open(engine, &config, &stream), FC_OK) << fc_last_error();
  const auto now = [&] {
    auto stats = sized<fc_stream_stats>();
    EXPECT_EQ(fc_stream_get_stats(stream, &stats), FC_OK);
    return stats;
  };
  const double own = now().cache_threshold;
  ASSERT_EQ(fc_stream_tune(stream, 0.75, FC_AUTO), FC_OK);
  EXPECT_EQ(now().cache_threshold, 0.75);
  EXPECT_EQ(now().guidance_scale, 3);
  ASSERT_EQ(fc_stream_tune(stream, FC_NEVER, 2), FC_OK);
  EXPECT_EQ(now().cache_threshold, 0);
  EXPECT_EQ(now().guidance_scale, 2);
  ASSERT_EQ(fc_stream_tune(stream, 0, 0), FC_OK);
  EXPECT_EQ(now().cache_threshold, own);
  EXPECT_EQ(now().guidance_scale, 1);
  EXPECT_EQ(fc_stream_tune(stream, -0.5, FC_AUTO), FC_ERROR_ARGUMENT);
  EXPECT_EQ(fc_stream_tune(stream, FC_AUTO, FC_NEVER), FC_ERROR_ARGUMENT) << "a scale is never negative";
  fc_stream_close(stream);
}

TEST_F(Api, CalibrationLooksAtItsFileBeforeTheWork) {
  const fc_stream_config config = default_stream();
  const char* prompt = "fire";
  int calls = 0;
  const auto count = [](void* user, const char*, double) { return ++*static_cast<int*>(user), 0; };
  for (const char* file : {"/nonexistent/curve.json", "/tmp", ""}) {
    EXPECT_EQ(fc_engine_calibrate(engine, &config, &prompt, 1, 2, count, &calls, file), FC_ERROR_NOT_FOUND);
    EXPECT_TRUE(says("cannot write")) << fc_last_error();
  }
  EXPECT_EQ(calls, 0);
}

TEST_F(Api, StreamsRefuseBadValuesInWords) {
  struct {
    void (*change)(fc_stream_config&);
    fc_status status;
    const char* part;
  } const table[] = {
      {[](fc_stream_config& c) { c.steps = 5000; }, FC_ERROR_ARGUMENT, "1..1000"},
      {[](fc_stream_config& c) { c.lag = 99; }, FC_ERROR_ARGUMENT, "lag"},
      {[](fc_stream_config& c) { c.cache_threshold = -3; }, FC_ERROR_ARGUMENT, "FC_AUTO"},
      {[](fc_stream_config& c) { c.cache_threshold = INFINITY; }, FC_ERROR_ARGUMENT, "0..10"},
      {[](fc_stream_config& c) { c.guidance_scale = 1e9; }, FC_ERROR_ARGUMENT, "0..50"},
      {[](fc_stream_config& c) { c.cache = "nonsense"; }, FC_ERROR_NOT_FOUND, "nonsense"},
      {[](fc_stream_config& c) { c.cache = "flowcache:warmup=no"; }, FC_ERROR_ARGUMENT, "warmup"},
      {[](fc_stream_config& c) { c.kv_cache = "nonsense"; }, FC_ERROR_NOT_FOUND, "nonsense"},
      {[](fc_stream_config& c) { c.kv_budget = 1; }, FC_ERROR_ARGUMENT, "budget"},
      {[](fc_stream_config& c) { c.kv_budget = uint64_t{1} << 60; }, FC_ERROR_MEMORY, "MB"},
      {[](fc_stream_config& c) { c.prompt = "\xff\xfe"; }, FC_ERROR_ARGUMENT, "UTF-8"},
  };
  for (const auto& row : table) {
    fc_stream_config config = default_stream();
    row.change(config);
    fc_stream* stream = nullptr;
    EXPECT_EQ(fc_stream_open(engine, &config, &stream), row.status) << row.part << ": " << fc_last_error();
    EXPECT_TRUE(says(row.part)) << fc_last_error();
    EXPECT_EQ(stream, nullptr);
  }
}

TEST_F(Api, PlanesAreCheckedBeforeAnythingIsWritten) {
  const fc_stream_config config = default_stream();
  fc_stream* stream = nullptr;
  ASSERT_EQ(fc_stream_open(engine, &config, &stream), FC_OK);
  fc_chunk* chunk = nullptr;
  ASSERT_EQ(fc_stream_next(stream, &chunk), FC_OK);
  auto model = sized<fc_model_info>();
  ASSERT_EQ(fc_model_describe(nullptr, &model), FC_OK);
  std::vector<uint8_t> pixels(size_t{4} * model.width * model.height);
  auto planes = sized<fc_planes>();
  planes.plane[0] = pixels.data();
  planes.stride[0] = 4 * model.width;
  EXPECT_EQ(fc_chunk_write(chunk, 12, &planes), FC_ERROR_ARGUMENT);
  planes.stride[0] = 4 * model.width - 1;
  EXPECT_EQ(fc_chunk_write(chunk, 0, &planes), FC_ERROR_ARGUMENT);
  planes.stride[0] = 4 * model.width;
  planes.plane[0] = nullptr;
  EXPECT_EQ(fc_chunk_write(chunk, 0, &planes), FC_ERROR_ARGUMENT);
  planes.plane[0] = pixels.data();
  planes.memory = FC_MEMORY_CUDA;
  EXPECT_EQ(fc_chunk_write(chunk, 0, &planes), FC_ERROR_DEVICE);
  planes.memory = FC_MEMORY_HOST;
  // As a caller in C can: no value of the enums, and none that C++ could hold in them.
  const int nine = 9;
  std::memcpy(&planes.format, &nine, sizeof nine);
  EXPECT_EQ(fc_chunk_write(chunk, 0, &planes), FC_ERROR_ARGUMENT);
  planes.format = FC_FORMAT_RGBA;
  std::memcpy(&planes.memory, &nine, sizeof nine);
  EXPECT_EQ(fc_chunk_write(chunk, 0, &planes), FC_ERROR_ARGUMENT);
  fc_chunk_unref(chunk);
  fc_stream_close(stream);
}

}  // namespace
