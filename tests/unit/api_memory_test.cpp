// SPDX-License-Identifier: LGPL-2.1-or-later
// A process that gets no more memory: every call returns a status. When there is memory again, the next calls
// work.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <thread>

#include "flowcache.h"

namespace {

constexpr rlim_t megabyte = 1 << 20;

rlim_t address_space() {
  unsigned long pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file || std::fscanf(file, "%lu", &pages) != 1) std::_Exit(90);
  std::fclose(file);
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

// While this exists, the process may allocate only this much more.
class Limit {
 public:
  explicit Limit(rlim_t more) {
    getrlimit(RLIMIT_AS, &before_);
    const rlimit now = {address_space() + more, before_.rlim_max};
    setrlimit(RLIMIT_AS, &now);
  }
  ~Limit() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
};

fc_engine* open_engine(fc_status* status) {
  fc_engine_config config{};
  config.size = sizeof config;
  config.device = "cpu";
  fc_engine* engine = nullptr;
  *status = fc_engine_open(&config, nullptr, nullptr, &engine);
  return engine;
}

// Makes a stream's first chunk and its first frame.
fc_status make_a_picture(fc_engine* engine) {
  fc_stream_config config{};
  config.size = sizeof config;
  config.prompt = "fire";
  config.steps = 2;
  config.kv_cache = "flowcache";
  fc_stream* stream = nullptr;
  fc_chunk* chunk = nullptr;
  fc_status status = fc_stream_open(engine, &config, &stream);
  if (status == FC_OK) status = fc_stream_next(stream, &chunk);
  static uint8_t pixels[4 * 1024 * 1024];
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.plane[0] = pixels;
  planes.stride[0] = 4 * 1024;
  if (status == FC_OK) status = fc_chunk_write(chunk, 0, &planes);
  fc_chunk_unref(chunk);
  fc_stream_close(stream);
  return status;
}

// Runs `work` on a thread that has no arithmetic threads yet and that exists before the limit.
fc_status on_fresh_thread(rlim_t more, const std::function<fc_status()>& work) {
  std::promise<void> go;
  fc_status status = FC_OK;
  std::thread thread([&] {
    go.get_future().wait();
    status = work();
  });
  {
    const Limit limit(more);
    go.set_value();
    thread.join();
  }
  return status;
}

[[noreturn]] void starve() {
  fc_status status = FC_OK;
  fc_engine* engine = open_engine(&status);
  if (status != FC_OK) std::_Exit(91);
  int refused = 0, other = 0;
  const auto count = [&](fc_status one) {
    refused += one == FC_ERROR_MEMORY;
    other += one != FC_OK && one != FC_ERROR_MEMORY && one != FC_ERROR_INTERNAL;
  };
  for (const rlim_t more : {0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96}) {
    count(on_fresh_thread(more * megabyte, [&] { return make_a_picture(engine); }));
    count(on_fresh_thread(more * megabyte, [&] {
      fc_status opened = FC_OK;
      fc_engine_unref(open_engine(&opened));
      return opened;
    }));
  }
  if (make_a_picture(engine) != FC_OK) std::_Exit(92);
  std::_Exit(other > 0 ? 93 : refused < 3 ? 94 : 0);
}

TEST(Memory, ThatIsRefusedIsAStatusAndTheProcessGoesOn) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(starve(), testing::ExitedWithCode(0), "");
}

}  // namespace
