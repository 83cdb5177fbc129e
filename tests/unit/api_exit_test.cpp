// SPDX-License-Identifier: LGPL-2.1-or-later
// Programs that end while their threads are in the library. Each runs in a process of its own.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "flowcache.h"

namespace {

void pause_ms(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

fc_engine* open_engine() {
  fc_engine_config config{};
  config.size = sizeof config;
  config.device = "cpu";
  fc_engine* engine = nullptr;
  if (fc_engine_open(&config, nullptr, nullptr, &engine) != FC_OK) std::_Exit(91);
  return engine;
}

fc_stream* open_stream(fc_engine* engine) {
  fc_stream_config config{};
  config.size = sizeof config;
  config.prompt = "fire";
  config.cache = "none";
  fc_stream* stream = nullptr;
  if (fc_stream_open(engine, &config, &stream) != FC_OK) std::_Exit(92);
  return stream;
}

// Makes chunks until a call is refused, and returns the status of that call.
fc_status drive(fc_stream* stream) {
  while (true) {
    fc_chunk* chunk = nullptr;
    const fc_status status = fc_stream_next(stream, &chunk);
    if (status != FC_OK) return status;
    fc_chunk_unref(chunk);
  }
}

// Runs in the child of a death test.
[[noreturn]] void exit_while_streams_run(int streams) {
  fc_engine* engine = open_engine();
  for (int i = 0; i < streams; ++i) std::thread(drive, open_stream(engine)).detach();
  pause_ms(700);
  std::exit(0);
}

class Exit : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(Exit, WhileAStreamIsComputed) {
  EXPECT_EXIT(exit_while_streams_run(1), testing::ExitedWithCode(0), "");
}

TEST_F(Exit, WhileSeveralStreamsAreComputed) {
  EXPECT_EXIT(exit_while_streams_run(3), testing::ExitedWithCode(0), "");
}

// These are not the first calls of the process: see flowcache.h.
[[noreturn]] void exit_while_models_are_loaded(int milliseconds) {
  fc_engine_unref(open_engine());
  const auto load = [] {
    fc_engine_config config{};
    config.size = sizeof config;
    config.device = "cpu";
    fc_engine* engine = nullptr;
    while (fc_engine_open(&config, nullptr, nullptr, &engine) == FC_OK) fc_engine_unref(engine);
  };
  for (int i = 0; i < 2; ++i) std::thread(load).detach();
  pause_ms(milliseconds);
  std::exit(0);
}

TEST_F(Exit, WhileModelsAreLoaded) {
  for (const int milliseconds : {20, 80, 200})
    EXPECT_EXIT(exit_while_models_are_loaded(milliseconds), testing::ExitedWithCode(0), "") << milliseconds;
}

// What the running call of another thread returns, and what later calls return. An exit handler that is
// registered before the library is used runs after the library's handler.
TEST_F(Exit, EndsTheRunningCallAndRefusesLaterOnes) {
  static std::atomic<int> ended_with;
  static fc_stream* stream;
  EXPECT_EXIT(
      {
        std::atexit([] {
          for (int i = 0; i < 500 && ended_with == FC_OK; ++i) pause_ms(10);
          fc_chunk* chunk = nullptr;
          const bool refused = fc_stream_next(stream, &chunk) == FC_ENDED;
          fc_stream_close(stream);
          std::_Exit(ended_with == FC_ENDED && refused ? 0 : 1);
        });
        stream = open_stream(open_engine());
        std::thread([] { ended_with = drive(stream); }).detach();
        pause_ms(500);
        std::exit(1);
      },
      testing::ExitedWithCode(0), "");
}

// The thread that calls exit() is itself in the library, so its call is not waited for.
TEST_F(Exit, FromACallback) {
  EXPECT_EXIT(
      {
        fc_engine_config config{};
        config.size = sizeof config;
        const auto end = [](void*, const char*, double) -> int { std::exit(7); };
        fc_engine* engine = nullptr;
        fc_engine_open(&config, end, nullptr, &engine);
      },
      testing::ExitedWithCode(7), "");
}

// A child of fork() has none of the threads that its parent had in the library.
TEST_F(Exit, OfAForkedChildWaitsForNobody) {
  EXPECT_EXIT(
      {
        fc_stream* stream = open_stream(open_engine());
        std::thread(drive, stream).detach();
        pause_ms(300);
        const auto start = std::chrono::steady_clock::now();
        const pid_t child = fork();
        if (child == 0) std::exit(0);
        int status = 1;
        waitpid(child, &status, 0);
        const bool quick = std::chrono::steady_clock::now() - start < std::chrono::seconds(8);
        std::exit(WIFEXITED(status) && WEXITSTATUS(status) == 0 && quick ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
