// SPDX-License-Identifier: LGPL-2.1-or-later
// The C API on the fake GPU, and what happened there.
#pragma once

#include <flowcache.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "counts.h"
#include "fake_gpu.h"

namespace fake_gpu_test {

inline const std::string kAmbient = FLOWCACHE_SOURCE_DIR "/models/ambient";

struct EngineDeleter {
  void operator()(fc_engine* engine) const { fc_engine_unref(engine); }
};
struct StreamDeleter {
  void operator()(fc_stream* stream) const { fc_stream_close(stream); }
};
struct ChunkDeleter {
  void operator()(fc_chunk* chunk) const { fc_chunk_unref(chunk); }
};
using Engine = std::unique_ptr<fc_engine, EngineDeleter>;
using Stream = std::unique_ptr<fc_stream, StreamDeleter>;
using Chunk = std::unique_ptr<fc_chunk, ChunkDeleter>;

struct Asked {
  std::string model = kAmbient, device = "cuda", precision = "bf16", cache = "none", kv;
  double guidance = FC_AUTO;
  uint32_t steps = 0, lag = 0;
  uint64_t kv_budget = 0, memory_limit = 0;
  uint32_t width = 256, height = 160;  // of the ambient model; 0: native
  std::string kv_precision = "auto";
  uint32_t graphs = 0;
  std::string decoder_device = {};
};

// null after a failure, whose status and sentence are in *status and fc_last_error().
Engine open_engine(const Asked& asked, fc_status* status = nullptr);
Stream open_stream(const Engine& engine, const Asked& asked, fc_status* status = nullptr);
// EXPECTs that it works.
Chunk next(const Stream& stream);

// A folder with one of models/templates as model.json, for "random:FOLDER".
class Template {
 public:
  explicit Template(const std::string& name);
  ~Template();
  Template(const Template&) = delete;
  Template& operator=(const Template&) = delete;
  std::string model() const { return "random:" + folder_.string(); }

 private:
  std::filesystem::path folder_;
};

}  // namespace fake_gpu_test
