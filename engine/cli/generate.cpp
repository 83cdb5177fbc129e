// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache generate: writes the video of a prompt to disk, without GStreamer.
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/frame_reader.h"
#include "cli/frame_writer.h"
#include "cli/handles.h"
#include "cli/interrupt.h"
#include "cli/video_input.h"

namespace flowcache::cli {

namespace {

struct GenerateArguments {
  EngineChoice engine;
  std::string prompt, negative, out = "flowcache.y4m", cache, kv_cache, as;
  double seconds = 10, threshold = 0, guidance = 0;
  uint64_t seed = 0, kv_budget = 0;
  uint32_t steps = 0, lag = 0;
  bool graphs = false;
  std::string prefix, input;
  double strength = 0.87;
  bool seconds_given = false, follow_motion = false;
  std::vector<std::string> loras;
};

int show_loading(void*, const char* stage, double fraction) {
  std::fprintf(stderr, "\rloading: %-6s %3.0f %%", stage, 100 * fraction);
  if (fraction >= 1) std::fputc('\n', stderr);
  return 0;
}

// total: 0 if it is not known.
void show_chunk(const fc_chunk_info& chunk, const fc_stream_stats& stats, const fc_model_info& video,
                uint64_t total) {
  const double playing = static_cast<double>(chunk.frames) * video.fps_d / video.fps_n;
  std::fprintf(
      stderr, "\rchunk %llu%s  %.0f ms (%.2f x real time)  steps %u computed %u reused  KV %s of %s   ",
      static_cast<unsigned long long>(chunk.chunk + 1),
      total == 0 ? "" : ("/" + std::to_string(total)).c_str(), 1e3 * chunk.seconds, playing / chunk.seconds,
      chunk.steps_computed, chunk.steps_reused, megabytes(static_cast<double>(stats.kv_bytes)).c_str(),
      megabytes(static_cast<double>(stats.kv_budget)).c_str());
}

OwnedStream open_stream(fc_engine* engine, const GenerateArguments& a, const Frames& prefix) {
  fc_stream_config config{};
  config.size = sizeof config;
  config.prompt = a.prompt.c_str();
  config.negative_prompt = a.negative.c_str();
  config.seed = a.seed;
  config.cache = a.cache.c_str();
  config.cache_threshold = a.threshold;
  config.kv_cache = a.kv_cache.c_str();
  config.kv_budget = a.kv_budget;
  config.steps = a.steps;
  config.lag = a.lag;
  config.graphs = a.graphs ? 1 : 0;
  config.guidance_scale = a.guidance;
  config.width = a.engine.size.width;
  config.height = a.engine.size.height;
  if (prefix.count > 0) {
    config.prefix = prefix.rgb.data();
    config.prefix_frames = prefix.count;
    config.prefix_width = prefix.width;
    config.prefix_height = prefix.height;
  }
  fc_stream* stream = nullptr;
  check(fc_stream_open(engine, &config, &stream));
  if (const char* unknown = fc_stream_unknown_words(stream); *unknown)
    std::fprintf(stderr, "warning: the model does not know these words, or has no room for them: %s\n",
                 unknown);
  return OwnedStream(stream);
}

// Gives the stream the LoRAs of all --lora. False: it was interrupted.
bool take_loras(fc_stream* stream, const std::vector<std::string>& loras) {
  if (loras.empty()) return true;
  std::string list;
  for (const std::string& one : loras) list += (list.empty() ? "" : ",") + one;
  fc_lora_change change{};
  change.size = sizeof change;
  change.loras = list.c_str();
  change.at_chunk = FC_NEXT_CHUNK;
  const fc_status status = fc_stream_lora(stream, &change, nullptr);
  if (status == FC_CANCELLED) return false;
  check(status);
  return true;
}

int run(const GenerateArguments& a) {
  FrameWriter::check_path(a.out);
  const std::vector<std::string> pictures =
      a.prefix.empty() ? std::vector<std::string>() : prefix_files(a.prefix);
  adopt_download(a.engine.model, a.as);
  const OwnedEngine engine = a.engine.open(show_loading);
  fc_model_info video{};
  video.size = sizeof video;
  check(fc_engine_describe(engine.get(), &video));
  if (a.engine.size.width != 0) {
    video.width = a.engine.size.width;
    video.height = a.engine.size.height;
  }
  const OwnedStream stream = open_stream(engine.get(), a, read_frames(pictures, video.width, video.height));
  std::optional<CancelOnCtrlC> ctrl_c(stream.get());
  if (!take_loras(stream.get(), a.loras)) return CancelOnCtrlC::exit_status();
  std::optional<VideoInput> input;
  std::optional<Feeder> feeder;
  if (!a.input.empty()) {
    input.emplace(a.input, video);
    feeder.emplace(stream.get(), *input, a.strength, a.follow_motion);
  }
  FrameWriter writer(a.out, video);
  const bool whole = feeder && !a.seconds_given;  // all of the input
  uint64_t left =
      whole ? UINT64_MAX : static_cast<uint64_t>(std::ceil(a.seconds * video.fps_n / video.fps_d));
  const uint64_t chunks = whole ? 0 : (left + video.frames_per_chunk - 1) / video.frames_per_chunk;
  while (left > 0 && !(feeder && !feeder->feed_ahead())) {
    fc_chunk* next = nullptr;
    const fc_status status = fc_stream_next(stream.get(), &next);
    if (status == FC_CANCELLED) break;
    check(status);
    const OwnedChunk chunk(next);
    fc_chunk_info info{};
    info.size = sizeof info;
    check(fc_chunk_describe(chunk.get(), &info));
    const uint32_t own = feeder ? feeder->shown(info.frames) : info.frames;
    const uint32_t frames = static_cast<uint32_t>(std::min<uint64_t>(left, own));
    writer.write(chunk.get(), frames);
    left -= frames;
    fc_stream_stats stats{};
    stats.size = sizeof stats;
    check(fc_stream_get_stats(stream.get(), &stats));
    show_chunk(info, stats, video, chunks);
  }
  ctrl_c.reset();
  writer.close();
  std::fprintf(stderr, "\nwrote %s%s\n", a.out.c_str(), interrupted ? " (interrupted)" : "");
  return CancelOnCtrlC::exit_status();
}

}  // namespace

Command add_generate(CLI::App& app) {
  auto a = std::make_shared<GenerateArguments>();
  auto* command = app.add_subcommand("generate", "Write video for a prompt: Y4M or PNG frames");
  command->add_option("prompt", a->prompt, "What to show, e.g. \"slow green aurora over mountains\"")
      ->required();
  command->add_option("-o,--out", a->out, "NAME.y4m, NAME-%04d.png, or - for Y4M on standard output")
      ->capture_default_str();
  const CLI::Option* seconds =
      command->add_option("-s,--seconds", a->seconds, "Length of the video; with --input: all of it")
          ->check(CLI::Range(0.01, 1e6))
          ->capture_default_str();
  command->add_option("--seed", a->seed, "Same seed, same video")->capture_default_str();
  a->engine.add_options(*command);
  command->add_option(
      "--as", a->as,
      "Which model a download without model.json is, such as self-forcing-1.3b, if its keys and name "
      "do not tell");
  command->add_option("--cache", a->cache,
                      "Reuse policy, name or name:option=value,… (see `flowcache policies`)");
  command
      ->add_option("--cache-threshold", a->threshold,
                   "Limit of the distance up to which a step is reused; 0: the policy's or the model's "
                   "(--cache none computes all)")
      ->check(CLI::Range(0.0, 10.0));
  command->add_option("--kv-cache", a->kv_cache, "KV policy, as --cache");
  command
      ->add_option("--kv-budget", a->kv_budget,
                   "Bytes that the KV of finished chunks may hold; takes suffixes like 64MB")
      ->transform(CLI::AsSizeValue(true));
  command->add_option("--steps", a->steps, "Denoising steps per chunk, 1..1000");
  command->add_option("--lag", a->lag, "Steps between the starts of two chunks, 1..steps");
  command->add_flag("--graphs", a->graphs,
                    "On an NVIDIA GPU: blocks as CUDA graphs; not tried on a card yet");
  command
      ->add_option("--guidance-scale", a->guidance,
                   "Classifier-free guidance, up to 50; 1: off; 0: the model's")
      ->check(CLI::Range(0.0, 50.0));
  command->add_option(
      "--prefix", a->prefix,
      "Continue a picture, or the pictures of a folder in the order of their names; of any size: they are "
      "turned upright, scaled to cover the video and cropped around their middle");
  command
      ->add_option("--lora", a->loras,
                   "FILE[:SCALE] of a LoRA, beside those of the model; may be given several times")
      ->allow_extra_args(false);
  command->add_option(
      "--input", a->input,
      "Repaint a video of the picture's size, its frames one for one: FILE.y4m, - for Y4M on standard "
      "input, or a picture or a folder of pictures of any size, as for --prefix");
  command
      ->add_option(
          "--strength", a->strength,
          "How much of --input is painted over: 0 shows it as the model's codec sees it, 1 ignores it")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_flag(
      "--follow-motion", a->follow_motion,
      "The faster --input moves, the less of --strength counts, by up to 0.1 (StreamDiffusionV2)");
  command->add_option("--negative-prompt", a->negative, "What guidance keeps away from");
  return [a, seconds] {
    a->seconds_given = seconds->count() > 0;
    return run(*a);
  };
}

}  // namespace flowcache::cli
