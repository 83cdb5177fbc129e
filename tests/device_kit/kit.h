// SPDX-License-Identifier: LGPL-2.1-or-later
// device-kit: checks of the engine on a device, one a call, each with its figures as JSON. tools/device_kit.sh runs them.
#pragma once

#include <flowcache.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace device_kit {

using nlohmann::json;

struct Options {
  std::string device = "cuda", precision = "fp32", model;  // model: "" for the one that ships
  std::vector<std::string> only;                           // names of policies; empty: all
  std::string devices;  // those that share a stream, such as "cuda:0,cuda:1"
  int chunks = 2;
  bool graphs = false;
  double seconds = 3600;  // endless: ends after the chunk that passes them
  uint32_t steps = 8, width = 0, height = 0;
};

// Each returns {"ok": bool, "why": what is wrong, figures…}; what is thrown fails the check, too.
json check_process(const Options& options);
json check_policies(const Options& options);
json check_pair(const Options& options);
json check_ranks(const Options& options);
json check_planes(const Options& options);
json check_frames(const Options& options);
json check_speed(const Options& options);
json check_endless(const Options& options);
json check_memory(const Options& options);

struct GiveBack {
  void operator()(fc_engine* engine) const { fc_engine_unref(engine); }
  void operator()(fc_stream* stream) const { fc_stream_close(stream); }
  void operator()(fc_chunk* chunk) const { fc_chunk_unref(chunk); }
};
using Engine = std::unique_ptr<fc_engine, GiveBack>;
using Stream = std::unique_ptr<fc_stream, GiveBack>;
using Chunk = std::unique_ptr<fc_chunk, GiveBack>;

struct Asked {
  std::string cache = "none", kv;
  uint64_t seed = 1;
  double guidance = 0;
  uint32_t clean_context = 0;
};

void check(fc_status status);  // throws fc_last_error()
// device: one, or several with commas between them.
Engine open_engine(const Options& options, const std::string& device);
// std::nullopt for what the engine refuses as an argument.
std::optional<Stream> open_stream(const Engine& engine, const Options& options, const Asked& asked);
Chunk next(const Stream& stream);
fc_chunk_info info_of(const Chunk& chunk);
std::vector<uint8_t> rgba_of(const Chunk& chunk, uint32_t frame);
// dB of 8-bit pictures, at most 100, which stands for equal ones.
double psnr(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b);

// Seconds; p: 0..1, by nearest rank.
double quantile(std::vector<double> values, double p);
class Watch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// CUDA's runtime, which LibTorch has loaded; `there` is false on the CPU.
struct Runtime {
  Runtime();
  bool there = false;
  int (*allocate)(void**, size_t) = nullptr;
  int (*release)(void*) = nullptr;
  int (*copy)(void*, const void*, size_t, int) = nullptr;
  int (*memory)(size_t*, size_t*) = nullptr;
  int (*last_error)() = nullptr;
};
// Bytes in use: of the GPU, by all processes; on the CPU, of this process.
double used_bytes(const Options& options);

}  // namespace device_kit
