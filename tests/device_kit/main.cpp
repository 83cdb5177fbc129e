// SPDX-License-Identifier: LGPL-2.1-or-later
// device-kit CHECK [--device D] [--devices D,D] [--precision P] [--model M] [--only a,b] [--chunks N] [--seconds S] [--steps N] [--size WxH] [--attention A]
// [--no-cudnn] [--graphs]: prints one JSON object. Exits with 0 if the check is fine, 1 if not, 2 on bad use.
#include <ATen/Context.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "kit.h"

namespace device_kit {

void check(fc_status status) {
  if (status != FC_OK) throw std::runtime_error(fc_last_error());
}

Engine open_engine(const Options& options, const std::string& device) {
  fc_engine_config config = fc_engine_config_init();
  config.model = options.model.empty() ? nullptr : options.model.c_str();
  (device.find(',') == std::string::npos ? config.device : config.devices) = device.c_str();
  config.precision = options.precision.c_str();
  config.width = options.width;
  config.height = options.height;
  fc_engine* engine = nullptr;
  check(fc_engine_open(&config, nullptr, nullptr, &engine));
  return Engine(engine);
}

std::optional<Stream> open_stream(const Engine& engine, const Options& options, const Asked& asked) {
  fc_stream_config config = fc_stream_config_init();
  config.prompt = "slow green aurora over mountains";
  config.seed = asked.seed;
  config.cache = asked.cache.c_str();
  config.kv_cache = asked.kv.empty() ? nullptr : asked.kv.c_str();
  config.steps = options.steps;
  config.guidance_scale = asked.guidance;
  config.clean_context = asked.clean_context;
  config.graphs = options.graphs ? 1 : 0;
  config.width = options.width;
  config.height = options.height;
  fc_stream* opened = nullptr;
  const fc_status status = fc_stream_open(engine.get(), &config, &opened);
  if (status == FC_ERROR_ARGUMENT) return std::nullopt;
  check(status);
  return Stream(opened);
}

Chunk next(const Stream& stream) {
  fc_chunk* chunk = nullptr;
  check(fc_stream_next(stream.get(), &chunk));
  return Chunk(chunk);
}

fc_chunk_info info_of(const Chunk& chunk) {
  fc_chunk_info info = fc_chunk_info_init();
  check(fc_chunk_describe(chunk.get(), &info));
  return info;
}

std::vector<uint8_t> rgba_of(const Chunk& chunk, uint32_t frame) {
  const fc_chunk_info info = info_of(chunk);
  std::vector<uint8_t> pixels(size_t{4} * info.width * info.height);
  fc_planes planes = fc_planes_init();
  planes.plane[0] = pixels.data();
  planes.stride[0] = 4 * info.width;
  check(fc_chunk_write(chunk.get(), frame, &planes));
  return pixels;
}

double psnr(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  if (a.size() != b.size()) throw std::runtime_error("pictures of different sizes");
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  if (sum == 0) return 100;
  return std::min(100.0, 10 * std::log10(255 * 255 * static_cast<double>(a.size()) / sum));
}

double quantile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(values.size())));
  return values[std::max<size_t>(rank, 1) - 1];
}

Runtime::Runtime() {
  const auto find = [](auto* function, const char* name) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(RTLD_DEFAULT, name));
    return *function != nullptr;
  };
  there = find(&allocate, "cudaMalloc") && find(&release, "cudaFree") && find(&copy, "cudaMemcpy") &&
          find(&memory, "cudaMemGetInfo") && find(&last_error, "cudaGetLastError");
}

double used_bytes(const Options& options) {
  if (options.device.starts_with("cuda")) {
    size_t free = 0, all = 0;
    if (const Runtime runtime; runtime.there && runtime.memory(&free, &all) == 0)
      return static_cast<double>(all - free);
    return 0;
  }
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) * 1024;
  return 0;
}

}  // namespace device_kit

namespace {

using device_kit::json;
using device_kit::Options;

const std::map<std::string, json (*)(const Options&)> checks = {
    {"process", device_kit::check_process}, {"policies", device_kit::check_policies},
    {"pair", device_kit::check_pair},       {"planes", device_kit::check_planes},
    {"ranks", device_kit::check_ranks},     {"frames", device_kit::check_frames},
    {"speed", device_kit::check_speed},     {"endless", device_kit::check_endless},
    {"memory", device_kit::check_memory}};

// Which of LibTorch's attentions may be used: "" any.
bool choose_attention(const std::string& name) {
  if (name != "" && name != "flash" && name != "cudnn" && name != "efficient" && name != "math") return false;
  at::Context& context = at::globalContext();
  if (name.empty()) return true;
  context.setSDPUseFlash(name == "flash");
  context.setSDPUseCuDNN(name == "cudnn");
  context.setSDPUseMemEfficient(name == "efficient");
  context.setSDPUseMath(true);  // for what the chosen one does not take
  return true;
}

// False: bad use.
bool read(int argc, char** argv, Options& options) {
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--no-cudnn") {  // on the stand-in for a GPU, where its plans cannot be made
      at::globalContext().setUserEnabledCuDNN(false);
      at::globalContext().setSDPUseCuDNN(false);
      continue;
    }
    if (name == "--graphs") {
      options.graphs = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const std::string value = argv[++i];
    if (name == "--device")
      options.device = value;
    else if (name == "--devices")
      options.devices = value;
    else if (name == "--precision")
      options.precision = value;
    else if (name == "--model")
      options.model = value;
    else if (name == "--chunks")
      options.chunks = std::atoi(value.c_str());
    else if (name == "--seconds")
      options.seconds = std::atof(value.c_str());
    else if (name == "--steps")
      options.steps = static_cast<uint32_t>(std::atoi(value.c_str()));
    else if (name == "--size") {
      if (std::sscanf(value.c_str(), "%ux%u", &options.width, &options.height) != 2) return false;
    } else if (name == "--attention") {
      if (!choose_attention(value)) return false;
    } else if (name == "--only") {
      std::istringstream list(value);
      for (std::string one; std::getline(list, one, ',');) options.only.push_back(one);
    } else
      return false;
  }
  return options.chunks > 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const auto chosen = argc > 1 ? checks.find(argv[1]) : checks.end();
  if (chosen == checks.end() || !read(argc, argv, options)) {
    std::fprintf(stderr, "device-kit CHECK [OPTION VALUE]…; run tools/device_kit.sh. Checks:");
    for (const auto& one : checks) std::fprintf(stderr, " %s", one.first.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  json result;
  try {
    result = chosen->second(options);
  } catch (const std::exception& error) {
    result = {{"ok", false}, {"why", error.what()}};
  }
  std::printf("%s\n", result.dump(1).c_str());
  return result.at("ok").get<bool>() ? 0 : 1;
}
