// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache-demo, which ./demo.sh runs: a live pipeline from a prompt to an MP4 file, then the same prompt
// and seed without caching, then a table that compares the two.
#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/output_place.h"
#include "base/sleep_at_barriers.h"
#include "encoders.h"
#include "flowcache.h"
#include "frame_rate.h"
#include "run.h"

namespace {

using demo::RunConfig;
using demo::RunResult;

constexpr unsigned video_kbit = 2000, keyframe_seconds = 2;
constexpr uint64_t sheet_columns = 4, sheet_frames = 12;
constexpr double compare_seconds = 10;  // at most so much of the video is made again without caching

struct Options {
  std::string prompt, out = "demo.mp4", seed = "1";
  double seconds = 10;
  double since = 0;  // when the person pressed return, in seconds since 1970; 0: unknown
  bool window = false;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--window") {
      options.window = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const char* value = argv[++i];
    if (name == "--prompt")
      options.prompt = value;
    else if (name == "--out")
      options.out = value;
    else if (name == "--seed")
      options.seed = value;
    else if (name == "--seconds")
      options.seconds = std::atof(value);
    else if (name == "--since")
      options.since = std::atof(value);
    else
      return false;
  }
  return options.seconds > 0;
}

// A string as gst_parse_launch() reads it.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string source(const Options& options, uint64_t frames) {
  return "flowcachesrc name=source prompt=" + quoted(options.prompt) + " seed=" + options.seed +
         " num-buffers=" + std::to_string(frames);
}

std::string live_pipeline(const Options& options, const std::string& encoder, uint64_t frames) {
  std::string text = source(options, frames) + " ! queue";
  if (options.window)
    text += " ! tee name=split ! queue leaky=downstream ! videoconvert ! autovideosink split. ! queue";
  return text + " ! videoconvert ! " + encoder + " ! mp4mux ! filesink location=" + quoted(options.out);
}

// The same work for the processor, encoder included, but without a file and without waiting for the clock.
std::string uncached_pipeline(const Options& options, const std::string& encoder, uint64_t frames) {
  return source(options, frames) + " cache=none is-live=false ! queue ! videoconvert ! " + encoder +
         " ! fakesink";
}

void table(const RunResult& cached, const RunResult& plain, const fc_model_info& model, uint64_t frames) {
  const double play_ms = 1e3 * model.frames_per_chunk * static_cast<double>(model.fps_d) / model.fps_n;
  const auto steps = [](const RunResult& r) {
    return std::to_string(r.stats.steps_computed) + " of " +
           std::to_string(r.stats.steps_computed + r.stats.steps_reused);
  };
  std::printf("\n%-28s %18s %18s\n", "", "this run", "without caching");
  std::printf("%-28s %15.0f ms %15.0f ms\n", "time per chunk (median)", cached.stats.chunk_ms,
              plain.stats.chunk_ms);
  std::printf("%-28s %17.1fx %17.1fx\n", "real time", play_ms / cached.stats.chunk_ms,
              play_ms / plain.stats.chunk_ms);
  std::printf("%-28s %18s %18s\n", "steps computed", steps(cached).c_str(), steps(plain).c_str());
  std::printf("%-28s %17.1fx\n", "speed-up", plain.stats.chunk_ms / cached.stats.chunk_ms);
  const double db = demo::psnr(cached.kept, plain.kept, frames);
  if (std::isinf(db))
    std::printf("%-28s %18s\n", "PSNR between the two", "identical");
  else
    std::printf("%-28s %15.1f dB\n", "PSNR between the two", db);
}

int fail(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return 1;
}

int demo_main(const Options& options) {
  fc_model_info model{};
  model.size = sizeof model;
  if (fc_model_describe(nullptr, &model) != FC_OK) return fail(fc_last_error());
  const double fps = static_cast<double>(model.fps_n) / model.fps_d;
  const flowcache::FrameRate rate{static_cast<int>(model.fps_n), static_cast<int>(model.fps_d)};
  // The same encoder on all machines, so that their tables can be compared.
  const std::string encoder = flowcache::x264_encoder(video_kbit, rate.frames_in(keyframe_seconds));
  const auto frames = static_cast<uint64_t>(std::max(1.0, std::round(options.seconds * fps)));
  const uint64_t compared = std::min(frames, static_cast<uint64_t>(compare_seconds * fps));
  const auto sheet = demo::spread(frames, sheet_frames);

  const std::string png =
      options.out.substr(0, options.out.rfind('.') > options.out.rfind('/') + 1 ? options.out.rfind('.')
                                                                                : std::string::npos) +
      ".png";
  for (const std::string& file : {options.out, png})
    if (const std::string problem = flowcache::output_problem(file); !problem.empty())
      return fail("cannot write " + file + ": " + problem);

  RunConfig config{.description = live_pipeline(options, encoder, frames),
                   .label = "live    ",
                   .total_frames = frames,
                   .fps = fps,
                   .frames_per_chunk = static_cast<double>(model.frames_per_chunk),
                   .keep_first = compared,
                   .keep_also = {sheet.begin(), sheet.end()}};
  std::printf("gst-launch-1.0 -e %s\n\n", config.description.c_str());
  std::fflush(stdout);
  const double waited = options.since > 0 ? g_get_real_time() / 1e6 - options.since : 0;
  const RunResult cached = demo::run(config);
  if (!cached.error.empty()) return fail(cached.error);
  if (cached.frames == 0) return fail("no frame came out of the pipeline");
  std::printf("live     first frame after %.1f s, %llu frames, %llu of them repeats (no new one was ready)\n",
              waited + cached.first_frame_seconds, static_cast<unsigned long long>(cached.frames),
              static_cast<unsigned long long>(cached.stats.repeated));

  // Repeats are not kept, so there may be fewer pictures than frames.
  const uint64_t pictures = compared == frames ? cached.kept.last() + 1 : cached.frames;
  const std::string problem =
      write_contact_sheet(cached.kept, demo::spread(pictures, sheet_frames), sheet_columns, png);
  if (!problem.empty()) return fail("the contact sheet could not be written: " + problem);
  if (cached.interrupted) return std::printf("\n%s\n%s\n", options.out.c_str(), png.c_str()), 0;

  std::printf("\nthe same prompt and seed without caching%s\n",
              compared < frames ? ", the first 10 s of it" : "");
  RunConfig plain_config{.description = uncached_pipeline(options, encoder, compared),
                         .label = "uncached",
                         .total_frames = compared,
                         .fps = fps,
                         .frames_per_chunk = config.frames_per_chunk,
                         .keep_first = compared};
  const RunResult plain = demo::run(plain_config);
  if (!plain.error.empty()) return fail(plain.error);
  if (!plain.interrupted) table(cached, plain, model, compared);
  std::printf("\nvideo          %s\ncontact sheet  %s\n", options.out.c_str(), png.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "flowcache-demo --prompt TEXT --seconds N --out FILE --seed N [--window]; ./demo.sh --help "
                 "says more\n");
    return 2;
  }
  gst_init(nullptr, nullptr);
  std::setlocale(LC_NUMERIC, "C");  // gst_init() takes the user's; figures are read by scripts too
  return demo_main(options);
}
