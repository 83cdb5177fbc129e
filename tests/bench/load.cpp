// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-load MODEL [fp32|bf16|fp8|int8]: seconds and memory of reading a transformer from its files.
// bench-load --make MODEL_JSON FOLDER [fp32|bf16]: writes such a model with random weights, to have something to read.
#include <c10/core/InferenceMode.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/resources.h"
#include "families/factory.h"
#include "families/family.h"
#include "networks/random_weights.h"

namespace {

using namespace flowcache;
namespace files = std::filesystem;

struct Resident {
  double all = 0, own = 0;  // MB; own: without pages of files
};

Resident resident() {
  std::ifstream status("/proc/self/status");
  Resident now;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) now.all = std::stod(line.substr(6)) / 1024;
    if (line.starts_with("RssAnon:")) now.own = std::stod(line.substr(8)) / 1024;
  }
  return now;
}

// The most that the process has while this lives.
class Watch {
 public:
  Watch()
      : thread_([this] {
          while (!done_) {
            const Resident now = resident();
            most_ = {std::max(most_.all, now.all), std::max(most_.own, now.own)};
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
          }
        }) {}
  Resident stop() {
    done_ = true;
    thread_.join();
    return most_;
  }

 private:
  Resident most_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

void make(const files::path& from, const files::path& folder, at::ScalarType type) {
  nlohmann::json model = nlohmann::json::parse(std::ifstream(from));
  const ModelPackage package = read_package("random:" + from.string());
  const std::vector<WeightSpec> wanted = wanted_by([&](WeightMap weights) {
    family_of(package).make_transformer(package.transformer.at("config"), std::move(weights), type, at::kCPU);
  });
  files::create_directories(folder);
  nlohmann::json header = nlohmann::json::object();
  const WeightMap weights = random_weights(wanted);
  uint64_t offset = 0;
  for (const auto& [name, tensor] : weights) {
    const uint64_t end = offset + tensor.numel() * c10::elementSize(type);
    header[name] = {{"dtype", type == at::kFloat ? "F32" : "BF16"},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::ofstream out(folder / "weights.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length) << text;
  for (const auto& [name, tensor] : weights) {
    const at::Tensor flat = tensor.to(type).contiguous();
    out.write(static_cast<const char*>(flat.const_data_ptr()), static_cast<std::streamsize>(flat.nbytes()));
  }
  model["transformer"]["file"] = "weights.safetensors";
  model["transformer"].erase("key");
  std::ofstream(folder / "model.json") << model.dump(1) << '\n';
  if (!out.flush()) throw std::runtime_error(folder.string() + ": cannot be written; is the disk full?");
}

}  // namespace

int main(int argc, char** argv) try {
  const auto argument = [&](int i) { return std::string(argc > i ? argv[i] : ""); };
  if (argc < 2 || argument(1) == "--help") {
    std::printf("bench-load MODEL [fp32|bf16|fp8|int8]\nbench-load --make MODEL_JSON FOLDER [fp32|bf16]\n");
    return argc < 2;
  }
  const c10::InferenceMode inference;
  const auto type = [&](int i) { return argument(i) == "fp32" ? at::kFloat : at::kBFloat16; };
  if (argument(1) == "--make") {
    make(argument(2), argument(3), type(4));
    return 0;
  }
  Precision precision = type(2);
  if (argument(2) == "fp8") precision.weights = at::kFloat8_e4m3fn;
  if (argument(2) == "int8") precision.weights = at::kChar;
  const ModelPackage package = read_package(argument(1));
  const double weights = static_cast<double>(weight_sizes(package).transformer) / 2 *
                         static_cast<double>(c10::elementSize(precision.weights)) / (1 << 20);
  const Resident before = resident();
  const auto start = std::chrono::steady_clock::now();
  Watch watch;
  const auto transformer = make_transformer(package, precision, at::kCPU);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const Resident most = watch.stop(), after = resident();
  std::printf("%s %s: %.1f s, %.0f MB of weights\n", package.name.c_str(), argument(2).c_str(), took.count(),
              weights);
  std::printf("most     %6.0f MB resident (%.2f x), %6.0f MB of them its own (%.2f x)\n",
              most.all - before.all, (most.all - before.all) / weights, most.own - before.own,
              (most.own - before.own) / weights);
  std::printf("then     %6.0f MB resident (%.2f x), %6.0f MB of them its own (%.2f x)\n",
              after.all - before.all, (after.all - before.all) / weights, after.own - before.own,
              (after.own - before.own) / weights);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench-load: %s\n", error.what());
  return 1;
}
