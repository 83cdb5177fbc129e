// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-pad [--frames 240] [--prompt TEXT] [--seed N]
//
// Frames at the pad of flowcachesrc against the model's native rate, with the model's own caching, governed
// as a live stream is by default, and without caching, x264enc working beside it on the same cores; what
// caching costs in PSNR; and what the element adds to the bare engine. Ratios from one run.
#include <algorithm>
#include <chrono>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/sleep_at_barriers.h"
#include "demo/run.h"
#include "flowcache.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  uint64_t frames = 240;
  std::string prompt = "slow green aurora over mountains", seed = "1";
};

std::string source(const Options& options, const std::string& extra) {
  return "flowcachesrc name=source is-live=false prompt=\"" + options.prompt + "\" seed=" + options.seed +
         " num-buffers=" + std::to_string(options.frames) + " " + extra;
}

demo::RunResult measure(const Options& options, const fc_model_info& model, const std::string& label,
                        const std::string& extra, const std::string& rest) {
  demo::RunConfig config{.description = source(options, extra) + " ! queue ! " + rest,
                         .label = label,
                         .total_frames = options.frames,
                         .fps = static_cast<double>(model.fps_n) / model.fps_d,
                         .frames_per_chunk = static_cast<double>(model.frames_per_chunk),
                         .keep_first = options.frames,
                         .keep_also = {}};
  auto result = demo::run(config);
  if (!result.error.empty()) {
    std::fprintf(stderr, "bench-pad: %s: %s\n", label.c_str(), result.error.c_str());
    std::exit(1);
  }
  return result;
}

// The frames of the first chunk come together and start the clock.
double rate(const demo::RunResult& run, const fc_model_info& model) {
  return static_cast<double>(run.frames - model.frames_per_chunk) / run.pad_seconds;
}

// Frames a second of the engine alone: fc_stream_next() and every frame written, on one thread.
double engine_alone(const Options& options, const fc_model_info& model) {
  fc_engine_config engine_config{};
  engine_config.size = sizeof engine_config;
  fc_stream_config stream_config{};
  stream_config.size = sizeof stream_config;
  stream_config.prompt = options.prompt.c_str();
  stream_config.seed = std::strtoull(options.seed.c_str(), nullptr, 10);
  fc_engine* engine = nullptr;
  fc_stream* stream = nullptr;
  if (fc_engine_open(&engine_config, nullptr, nullptr, &engine) != FC_OK ||
      fc_stream_open(engine, &stream_config, &stream) != FC_OK) {
    std::fprintf(stderr, "bench-pad: %s\n", fc_last_error());
    std::exit(1);
  }
  std::vector<uint8_t> pixels(size_t{4} * model.width * model.height);
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.format = FC_FORMAT_RGBA;
  planes.plane[0] = pixels.data();
  planes.stride[0] = 4 * model.width;
  uint64_t frames = 0;
  Clock::time_point start;
  while (frames < options.frames) {
    fc_chunk* chunk = nullptr;
    if (fc_stream_next(stream, &chunk) != FC_OK) break;
    if (frames == 0)
      start = Clock::now();  // the first chunk is the warm-up, as its first frame is at the pad
    for (uint32_t i = 0; i < model.frames_per_chunk; ++i) fc_chunk_write(chunk, i, &planes);
    frames += model.frames_per_chunk;
    fc_chunk_unref(chunk);
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  fc_stream_close(stream);
  fc_engine_unref(engine);
  return static_cast<double>(frames - model.frames_per_chunk) / seconds;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--frames")
      options.frames = std::strtoull(argv[i + 1], nullptr, 10);
    else if (name == "--prompt")
      options.prompt = argv[i + 1];
    else if (name == "--seed")
      options.seed = argv[i + 1];
    else
      return false;
  }
  return argc % 2 == 1 && options.frames >= 48;
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "bench-pad [--frames N >= 48] [--prompt TEXT] [--seed N]\n");
    return 2;
  }
  gst_init(nullptr, nullptr);
  std::setlocale(LC_NUMERIC, "C");  // gst_init() takes the user's; figures are read by scripts too
  fc_model_info model{};
  model.size = sizeof model;
  if (fc_model_describe(nullptr, &model) != FC_OK) return std::fprintf(stderr, "%s\n", fc_last_error()), 1;
  const double native = static_cast<double>(model.fps_n) / model.fps_d;
  const std::string x264 =
      "videoconvert ! x264enc tune=zerolatency speed-preset=veryfast bitrate=2000 key-int-max=32 ! fakesink";

  const auto on = measure(options, model, "on   ", "", x264);
  const auto live = measure(options, model, "live ", "cache=auto", x264);
  const auto off = measure(options, model, "off  ", "cache=none", x264);
  const auto bare = measure(options, model, "bare ", "", "fakesink");
  const double engine = engine_alone(options, model);
  std::printf("\n%s, %llu frames, prompt \"%s\"\n", model.name,
              static_cast<unsigned long long>(options.frames), options.prompt.c_str());
  std::printf("frames at the pad / native rate, caching on, x264 beside it   %.2f\n",
              rate(on, model) / native);
  std::printf("frames at the pad / native rate, governed, x264 beside it     %.2f\n",
              rate(live, model) / native);
  std::printf("frames at the pad / native rate, caching off, x264 beside it  %.2f\n",
              rate(off, model) / native);
  std::printf("speed-up of caching at the pad                                %.2f\n",
              rate(on, model) / rate(off, model));
  std::printf("speed-up of caching, time per chunk                           %.2f\n",
              off.stats.chunk_ms / on.stats.chunk_ms);
  std::printf("PSNR of caching on against off                                %.1f dB\n",
              demo::psnr(on.kept, off.kept, options.frames));
  std::printf("PSNR of governed against off                                  %.1f dB\n",
              demo::psnr(live.kept, off.kept, options.frames));
  std::printf("computed steps of a governed chunk                            %.1f\n",
              static_cast<double>(live.stats.steps_computed) / static_cast<double>(live.stats.chunks));
  std::printf("time for a frame, element without encoder / engine alone      %.3f\n",
              engine / rate(bare, model));
  return 0;
}
