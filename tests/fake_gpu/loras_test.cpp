// SPDX-License-Identifier: LGPL-2.1-or-later
// LoRAs that change while a stream plays: what noted graphs do then, and where the memory goes.
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <vector>

#include "fixture.h"

using namespace fake_gpu_test;

namespace {

// A LoRA of rank 1 for one layer of the ambient model.
class LoraFile {
 public:
  LoraFile()
      : path_(std::filesystem::temp_directory_path() / ("flowcache-lora-" + std::to_string(getpid()))) {
    constexpr int width = 192, inner = 768;
    const std::string layer = "\"diffusion_model.blocks.0.ffn.0.lora_";
    const auto tensor = [](int rows, int columns, int begin) {
      return R"({"dtype":"F32","shape":[)" + std::to_string(rows) + "," + std::to_string(columns) +
             R"(],"data_offsets":[)" + std::to_string(begin) + "," +
             std::to_string(begin + 4 * rows * columns) + "]}";
    };
    const std::string header = "{" + layer + "down.weight\":" + tensor(1, width, 0) + "," + layer +
                               "up.weight\":" + tensor(inner, 1, 4 * width) + "}";
    const uint64_t length = header.size();
    const std::vector<float> values(width + inner, 0.01f);
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header;
    out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(4 * values.size()));
  }
  ~LoraFile() { std::filesystem::remove(path_); }
  LoraFile(const LoraFile&) = delete;
  LoraFile& operator=(const LoraFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

void take_on(const Stream& stream, const std::string& list) {
  fc_lora_change change = fc_lora_change_init();
  change.loras = list.c_str();
  change.at_chunk = FC_NEXT_CHUNK;
  EXPECT_EQ(fc_stream_lora(stream.get(), &change, nullptr), FC_OK) << fc_last_error();
}

long graphs_of_next(const Stream& stream) {
  const FakeGpuCounts begin = counts();
  next(stream);
  return between(begin, counts()).graphs_run;
}

// A graph reads the weights that it was noted with.
TEST(Loras, GraphsAreNotedAnew) {
  const LoraFile lora;
  const Asked asked{.steps = 4, .graphs = 1};
  const Engine engine = open_engine(asked);
  const Stream stream = open_stream(engine, asked);
  const auto settled = [&] {
    for (int i = 0; i < 12; ++i)
      if (graphs_of_next(stream) > 0) return true;
    return false;
  };
  ASSERT_TRUE(settled());
  for (const std::string& list : {lora.path(), std::string()}) {
    take_on(stream, list);
    EXPECT_EQ(graphs_of_next(stream), 0) << list;
    EXPECT_TRUE(settled()) << list;
  }
}

TEST(Loras, GiveTheirMemoryBackWhenTheyGo) {
  const LoraFile lora;
  for (const char* precision : {"bf16", "fp8", "int8"}) {
    const Asked asked{.precision = precision, .steps = 2};
    const Engine engine = open_engine(asked);
    const Stream stream = open_stream(engine, asked);
    const auto round = [&] {
      take_on(stream, lora.path());
      next(stream);
      take_on(stream, "");
      next(stream);
      next(stream);
    };
    round();
    const long before = counts().used, forbidden = counts().forbidden;
    round();
    round();
    EXPECT_EQ(counts().used, before) << precision;
    EXPECT_EQ(counts().forbidden, forbidden) << precision;
  }
}

}  // namespace
