// SPDX-License-Identifier: LGPL-2.1-or-later
// Handles of the C API that free themselves, and the options that choose an engine.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
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

// Reads "384x224". Throws CLI::ValidationError for anything else.
inline fc_picture_size parse_size(const std::string& text) {
  fc_picture_size size{};
  char rest = 0;
  if (std::sscanf(text.c_str(), "%5ux%5u%c", &size.width, &size.height, &rest) != 2 || size.width == 0 ||
      size.height == 0)
    throw CLI::ValidationError("--size", "\"" + text + "\" is not a size such as 384x224");
  return size;
}

struct EngineChoice {
  std::string model;  // "": the model that ships
  std::string device = "auto", precision = "auto", kv_precision = "auto";
  std::string devices, attention_split, listen, token_file, decoder_device, on_lost_rank;
  uint32_t threads = 0, slice_tokens = 0, rank_timeout = 0;
  fc_picture_size size{};  // zeros: the model's own

  void add_options(CLI::App& command) {
    command.add_option("-m,--model", model, "Folder with model.json; default: the model that ships");
    command.add_option("--device", device, "auto, cpu, cuda, cuda:N")->capture_default_str();
    command.add_option(
        "--devices", devices,
        "Devices that share each chunk, such as cuda:0,cuda:1 or cpu,cpu; join: one of another "
        "machine (pipelines/SCALE.md)");
    command.add_option("--attention-split", attention_split,
                       "How they share self-attention: heads, rows; default: heads if they divide");
    command.add_option(
        "--decoder-device", decoder_device,
        "Where chunks are decoded while the next one is computed, such as cuda:1; default: with the "
        "network, or a device of --devices that is to spare");
    command.add_option("--rank-timeout", rank_timeout,
                       "Milliseconds that devices wait for each other; 0: 30000");
    command.add_option("--on-lost-rank", on_lost_rank,
                       "When a device is lost: go_on with the others, or end; default: go_on");
    command.add_option("--listen", listen, "HOST:PORT at which workers with the token may join");
    command.add_option(
        "--token-file", token_file,
        "File whose first line is the token; default: FLOWCACHE_TOKEN or FLOWCACHE_TOKEN_FILE");
    command.add_option("--precision", precision, "auto, fp32, bf16, fp8, int8")->capture_default_str();
    command
        .add_option("--kv-precision", kv_precision,
                    "Keys and values of finished chunks: auto, full, int8 (less memory, or more of them in a "
                    "budget)")
        ->capture_default_str();
    command.add_option("--threads", threads, "CPU threads; 0: as many as this process may keep busy")
        ->capture_default_str();
    command
        .add_option("--slice-tokens", slice_tokens,
                    "Largest number of tokens that a block processes at once, to save memory; 0: all")
        ->capture_default_str();
    command.add_option_function<std::string>(
        "--size", [this](const std::string& text) { size = parse_size(text); },
        "Width and height of the picture, such as 384x224; default: the model's own");
  }

  // Throws std::runtime_error with the engine's message.
  OwnedEngine open(fc_progress_function progress = nullptr) const {
    fc_engine_config config{};
    config.size = sizeof config;
    config.model = model.empty() ? nullptr : model.c_str();
    config.device = device.c_str();
    config.precision = precision.c_str();
    config.kv_precision = kv_precision.c_str();
    config.threads = threads;
    config.slice_tokens = slice_tokens;
    config.width = size.width;
    config.height = size.height;
    config.devices = devices.c_str();
    config.attention_split = attention_split.c_str();
    config.rank_timeout = rank_timeout;
    config.listen = listen.c_str();
    config.decoder_device = decoder_device.c_str();
    config.on_lost_rank = on_lost_rank.c_str();
    if (!token_file.empty()) setenv("FLOWCACHE_TOKEN_FILE", token_file.c_str(), 1);
    fc_engine* engine = nullptr;
    check(fc_engine_open(&config, progress, nullptr, &engine));
    return OwnedEngine(engine);
  }
};

}  // namespace flowcache::cli
