// SPDX-License-Identifier: LGPL-2.1-or-later
#include <unistd.h>

#include <atomic>

#include "cudnn.h"
#include "fixture.h"

namespace fake_gpu_test {

Engine open_engine(const Asked& asked, fc_status* status) {
  fc_engine_config config = fc_engine_config_init();
  config.model = asked.model.c_str();
  config.device = asked.device.c_str();
  config.precision = asked.precision.c_str();
  config.kv_precision = asked.kv_precision.c_str();
  config.memory_limit = asked.memory_limit;
  config.width = asked.width;
  config.height = asked.height;
  config.decoder_device = asked.decoder_device.c_str();
  fc_engine* engine = nullptr;
  const fc_status result = fc_engine_open(&config, nullptr, nullptr, &engine);
  if (status)
    *status = result;
  else
    EXPECT_EQ(result, FC_OK) << fc_last_error();
  if (engine && asked.device != "cpu") use_cudnn();
  return Engine(engine);
}

Stream open_stream(const Engine& engine, const Asked& asked, fc_status* status) {
  fc_stream_config config = fc_stream_config_init();
  config.prompt = "orange fire";
  config.cache = asked.cache.c_str();
  config.kv_cache = asked.kv.empty() ? nullptr : asked.kv.c_str();
  config.guidance_scale = asked.guidance;
  config.steps = asked.steps;
  config.lag = asked.lag;
  config.kv_budget = asked.kv_budget;
  config.width = asked.width;
  config.height = asked.height;
  config.graphs = asked.graphs;
  fc_stream* stream = nullptr;
  const fc_status result = fc_stream_open(engine.get(), &config, &stream);
  if (status)
    *status = result;
  else
    EXPECT_EQ(result, FC_OK) << asked.cache << ": " << fc_last_error();
  return Stream(stream);
}

Chunk next(const Stream& stream) {
  fc_chunk* chunk = nullptr;
  EXPECT_EQ(fc_stream_next(stream.get(), &chunk), FC_OK) << fc_last_error();
  return Chunk(chunk);
}

Template::Template(const std::string& name) {
  static std::atomic<int> number{0};
  folder_ = std::filesystem::temp_directory_path() /
            ("flowcache-fake-gpu-" + std::to_string(getpid()) + "-" + std::to_string(number++));
  std::filesystem::create_directory(folder_);
  std::filesystem::copy_file(FLOWCACHE_SOURCE_DIR "/models/templates/" + name + ".json",
                             folder_ / "model.json");
}

Template::~Template() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace fake_gpu_test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!fake_gpu_test::is_preloaded()) return 77;
  fake_gpu_test::refuse_cudnn();
  return RUN_ALL_TESTS();
}
