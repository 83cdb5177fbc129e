// SPDX-License-Identifier: LGPL-2.1-or-later
// A model on some ranks of this machine, and the same model in one process.
#pragma once

#include <ATen/Context.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/parallel.h"
#include "stream/stream.h"
#include "tiny_packages.h"

namespace flowcache::test {

// Where a rank runs: "cpu", or what FLOWCACHE_TEST_DEVICE says, of which "cuda" is a card for each. On a GPU's stand-in there is
// no cuDNN.
inline std::string test_device(int rank = 0) {
  const char* named = std::getenv("FLOWCACHE_TEST_DEVICE");
  if (!named) return "cpu";
  at::globalContext().setUserEnabledCuDNN(false);
  return std::string(named) == "cuda" ? "cuda:" + std::to_string(rank) : named;
}

struct OnRanks {
  // With random weights. A lost rank is an error, unless on_lost_rank says otherwise.
  OnRanks(const json& package, int ranks, const std::string& attention = "", uint32_t timeout_ms = 60000,
          const std::string& on_lost_rank = "end") {
    folder.write("model.json", package.dump());
    load("random:" + folder.path.string(), ranks, attention, timeout_ms, on_lost_rank);
  }
  // A model with weights.
  OnRanks(const std::string& model, int ranks, const std::string& attention, uint32_t timeout_ms = 60000,
          const std::string& on_lost_rank = "end") {
    load(model, ranks, attention, timeout_ms, on_lost_rank);
  }

  TempFolder folder;
  std::shared_ptr<const LoadedModel> alone, together;

 private:
  void load(const std::string& model, int ranks, const std::string& attention, uint32_t timeout_ms,
            const std::string& on_lost_rank) {
    const LoadOptions options{.model = model, .device = test_device(), .precision = "fp32", .threads = 1};
    alone = LoadedModel::load(options, nullptr);
    std::vector<std::string> devices;
    for (int rank = 0; rank < ranks; ++rank) devices.push_back(test_device(rank));
    together = load_on_ranks(
        options,
        {.devices = devices, .attention = attention, .timeout_ms = timeout_ms, .on_lost_rank = on_lost_rank},
        nullptr);
  }
};

// The ids of this process's children that still run or wait to be reaped.
inline std::vector<pid_t> children() {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat");
    std::string text;
    if (!std::getline(stat, text)) continue;
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) continue;
    int parent = 0;
    char state = 0;
    if (std::sscanf(text.c_str() + name_end + 1, " %c %d", &state, &parent) == 2 && parent == getpid())
      found.push_back(std::atoi(entry.path().filename().c_str()));
  }
  return found;
}

inline const std::string ambient = FLOWCACHE_SOURCE_DIR "/models/ambient";

// What a caller does to a stream before it asks for chunk `chunk`.
using Script = std::function<void(Stream& stream, int chunk)>;

struct Played {
  std::vector<at::Tensor> latents, frames;
  std::vector<std::vector<uint8_t>> decisions;
};

inline Played play(const std::shared_ptr<const LoadedModel>& model, const StreamConfig& config, int chunks,
                   const Script& script = nullptr) {
  Played played;
  Stream stream(model, config);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    if (script) script(stream, chunk);
    const auto made = stream.next();
    played.latents.push_back(made->latent.clone());
    played.frames.push_back(made->frames.clone());
    played.decisions.push_back(made->decisions);
  }
  return played;
}

// The same decisions, and latents and frames within 1e-4.
inline void expect_same(const OnRanks& model, const StreamConfig& config, int chunks,
                        const Script& script = nullptr) {
  const Played wanted = play(model.alone, config, chunks, script);
  const Played got = play(model.together, config, chunks, script);
  // Trained weights make the most of a small difference, random ones little.
  double bound = model.alone->package.random_weights ? 1e-5 : 1e-4;
  if (script) {  // random weights heed a prompt little; what is missed of it must be seen
    const Played untouched = play(model.alone, config, chunks);
    const double effect = (untouched.latents.back() - wanted.latents.back()).abs().max().item<double>();
    ASSERT_GT(effect, 1e-4);
    bound = std::min(bound, effect / 10);
  }
  for (size_t i = 0; i < wanted.latents.size(); ++i) {
    ASSERT_TRUE(wanted.latents[i].isfinite().all().item<bool>());
    EXPECT_EQ(got.decisions[i], wanted.decisions[i]) << "chunk " << i;
    EXPECT_LE((got.latents[i] - wanted.latents[i]).abs().max().item<double>(), bound) << "chunk " << i;
    EXPECT_LE((got.frames[i] - wanted.frames[i]).abs().max().item<double>(), bound) << "chunk " << i;
  }
}

inline StreamConfig config_of(const std::string& cache = "", const std::string& kv = "") {
  StreamConfig config;
  config.prompt = "a slow green aurora";
  config.seed = 3;
  config.cache = cache;
  config.kv_cache = kv;
  return config;
}

}  // namespace flowcache::test
