// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache inspect: what a model is and what it will take, without loading it.
#include <cstdio>

#include "cli/commands.h"
#include "cli/handles.h"

namespace flowcache::cli {

namespace {

int run(const std::string& model, bool load) {
  fc_model_info info{};
  info.size = sizeof info;
  const char* folder = model.empty() ? fc_default_model() : model.c_str();
  check(fc_model_describe(folder, &info));
  const double seconds = static_cast<double>(info.frames_per_chunk) * info.fps_d / info.fps_n;
  std::printf("%s (%s)\n", info.name, info.family);
  if (*info.description) std::printf("  %s\n", info.description);
  std::printf("  folder            %s\n", folder);
  std::printf("  video             %u x %u at %u/%u frames a second\n", info.width, info.height, info.fps_n,
              info.fps_d);
  std::printf("  chunk             %u frames (%.2f s) from %u latent frames\n", info.frames_per_chunk,
              seconds, info.latent_frames_per_chunk);
  std::printf("  sampling          %u steps, a chunk starts every %u steps, guidance %g\n", info.steps,
              info.lag, info.guidance_scale);
  std::printf("  caching           %s, threshold %g; KV: %s, %u chunks of history\n", info.cache,
              info.cache_threshold, info.kv_cache, info.history_chunks);
  std::printf("  weights on disk   %s\n", megabytes(static_cast<double>(info.weight_bytes)).c_str());
  const double kv = static_cast<double>(info.kv_bytes_per_chunk);
  std::printf("  KV of a chunk     %s in fp32, %s in bf16\n", megabytes(kv).c_str(),
              megabytes(kv / 2).c_str());
  std::printf("  KV buffer         %s in fp32 with one chunk in flight\n",
              megabytes(kv * (info.history_chunks + 1)).c_str());
  if (!load) return 0;
  EngineChoice choice;
  choice.model = folder ? folder : "";
  const OwnedEngine engine = choice.open();
  std::printf("  loads             yes, on %s in %s\n", fc_engine_device(engine.get()),
              fc_engine_precision(engine.get()));
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& app) {
  auto model = std::make_shared<std::string>();
  auto load = std::make_shared<bool>(false);
  auto* command =
      app.add_subcommand("inspect", "Say what a model is, its sizes, and what memory it will take");
  command->add_option("model", *model, "Folder with model.json; default: the model that ships");
  command->add_flag("--load", *load, "Also load the weights and check every key");
  return [model, load] { return run(*model, *load); };
}

}  // namespace flowcache::cli
