// SPDX-License-Identifier: LGPL-2.1-or-later
// Handles of the C API that give themselves back, and the options that choose an engine.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/commands.h"

namespace flowcache::cli {

struct GiveBack {
  void operator()(fc_engine* engine) const { fc_engine_unref(engine); }
  void operator()(fc_stream* stream) const { fc_stream_close(stream); }
  void operator()(fc_chunk* chunk) const { fc_chunk_unref(chunk); }
};
using OwnedEngine = std::unique_ptr<fc_engine, GiveBack>;
using OwnedStream = std::unique_ptr<fc_stream, GiveBack>;
using OwnedChunk = std::unique_ptr<fc_chunk, GiveBack>;

struct EngineChoice {
  std::string model;  // "": the model that ships
  std::string device = "auto", precision = "auto";
  uint32_t threads = 0, slice_tokens = 0;

  void add_options(CLI::App& command) {
    command.add_option("-m,--model", model, "Folder with model.json; default: the model that ships");
    command.add_option("--device", device, "auto, cpu, cuda, cuda:N")->capture_default_str();
    command.add_option("--precision", precision, "auto, fp32, bf16, fp8")->capture_default_str();
    command.add_option("--threads", threads, "CPU threads; 0: as many as this process may keep busy")->capture_default_str();
    command
        .add_option("--slice-tokens", slice_tokens,
                    "Most tokens a block takes at once, to save memory; 0: all")
        ->capture_default_str();
  }

  // Throws std::runtime_error with the engine's sentence.
  OwnedEngine open(fc_progress_function progress = nullptr) const {
    fc_engine_config config{};
    config.size = sizeof config;
    config.model = model.empty() ? nullptr : model.c_str();
    config.device = device.c_str();
    config.precision = precision.c_str();
    config.threads = threads;
    config.slice_tokens = slice_tokens;
    fc_engine* engine = nullptr;
    check(fc_engine_open(&config, progress, nullptr, &engine));
    return OwnedEngine(engine);
  }
};

}  // namespace flowcache::cli
