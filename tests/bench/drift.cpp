// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-drift [CHUNKS] [PROMPT]...: what a long stream becomes with the clean pass over finished chunks and
// without it. Per hundred chunks the picture's mean, contrast, sharpness and motion, and the change across
// chunk borders over that inside chunks; each also as a ratio to the first hundred. The model's default
// policy, and the time of a chunk.
#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/sleep_at_barriers.h"
#include "flowcache.h"

namespace {

constexpr int span = 100;  // chunks a line

void check(fc_status status) {
  if (status == FC_OK) return;
  std::fprintf(stderr, "bench-drift: %s\n", fc_last_error());
  std::exit(1);
}

struct Figures {
  double mean = 0, contrast = 0, sharpness = 0, motion = 0, inside = 0, across = 0, seconds = 0;
  int chunks = 0, borders = 0;
  double seams() const { return (across / borders) / (inside / chunks); }
};

struct Grey {
  uint32_t width = 0, height = 0;
  std::vector<float> pixels;  // 0..1
};

Grey grey_of(const fc_chunk* chunk, const fc_chunk_info& info, uint32_t frame) {
  std::vector<uint8_t> rgba(size_t{4} * info.width * info.height);
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.plane[0] = rgba.data();
  planes.stride[0] = 4 * info.width;
  check(fc_chunk_write(chunk, frame, &planes));
  Grey grey{info.width, info.height, std::vector<float>(size_t{1} * info.width * info.height)};
  for (size_t i = 0; i < grey.pixels.size(); ++i)
    grey.pixels[i] = static_cast<float>(rgba[4 * i] + rgba[4 * i + 1] + rgba[4 * i + 2]) / 765;
  return grey;
}

double difference(const Grey& a, const Grey& b) {
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

void add_picture(const Grey& grey, double share, Figures* to) {
  double sum = 0, squares = 0, right = 0, down = 0;
  for (uint32_t y = 0; y < grey.height; ++y)
    for (uint32_t x = 0; x < grey.width; ++x) {
      const float* at = grey.pixels.data() + size_t{1} * y * grey.width + x;
      sum += *at;
      squares += *at * *at;
      if (x + 1 < grey.width) right += std::abs(at[1] - at[0]);
      if (y + 1 < grey.height) down += std::abs(at[grey.width] - at[0]);
    }
  const auto n = static_cast<double>(grey.pixels.size());
  to->mean += share * sum / n;
  to->contrast += share * std::sqrt(std::max(0.0, squares / n - sum / n * sum / n));
  to->sharpness += share * (right + down) / n;
}

void add_chunk(const fc_chunk* chunk, Grey* last, Figures* to) {
  fc_chunk_info info{};
  info.size = sizeof info;
  check(fc_chunk_describe(chunk, &info));
  double inside = 0;
  for (uint32_t i = 0; i < info.frames; ++i) {
    Grey grey = grey_of(chunk, info, i);
    add_picture(grey, 1.0 / info.frames, to);
    const double change = last->pixels.empty() ? 0 : difference(grey, *last);
    if (i > 0) inside += change / (info.frames - 1);
    if (i == 0 && !last->pixels.empty()) {
      to->across += change;
      ++to->borders;
    }
    *last = std::move(grey);
  }
  to->inside += inside;
  to->motion += inside;
  to->seconds += info.seconds;
  ++to->chunks;
}

void print(const char* mode, int from, const Figures& now, const Figures& first) {
  const auto one = [&](double Figures::*field, double scale) {
    std::printf(" | %6.2f (%.2f)", scale * now.*field / now.chunks,
                (now.*field / now.chunks) / (first.*field / first.chunks));
  };
  std::printf("%-13s %4d to %4d", mode, from + 1, from + now.chunks);
  one(&Figures::mean, 1e3);
  one(&Figures::contrast, 1e3);
  one(&Figures::sharpness, 1e3);
  one(&Figures::motion, 1e3);
  std::printf(" | %4.2f | %5.0f ms\n", now.seams(), 1e3 * now.seconds / now.chunks);
  std::fflush(stdout);
}

void run(fc_engine* engine, const std::string& prompt, uint32_t clean_context, int chunks) {
  fc_stream_config config{};
  config.size = sizeof config;
  config.prompt = prompt.c_str();
  config.seed = 1;
  config.cache_threshold = config.guidance_scale = FC_AUTO;
  config.clean_context = clean_context;
  fc_stream* stream = nullptr;
  check(fc_stream_open(engine, &config, &stream));
  Grey last;
  Figures first;
  for (int from = 0; from < chunks; from += span) {
    Figures now;
    for (int i = from; i < std::min(chunks, from + span); ++i) {
      fc_chunk* chunk = nullptr;
      check(fc_stream_next(stream, &chunk));
      add_chunk(chunk, &last, &now);
      fc_chunk_unref(chunk);
    }
    if (from == 0) first = now;
    print(clean_context == 2 ? "clean pass" : "no clean pass", from, now, first);
  }
  fc_stream_close(stream);
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  std::setlocale(LC_ALL, "C");
  const int chunks = argc > 1 ? std::atoi(argv[1]) : 400;
  std::vector<std::string> prompts(argv + std::min(argc, 2), argv + argc);
  if (chunks < 2) return std::fprintf(stderr, "bench-drift [CHUNKS >= 2] [PROMPT]...\n"), 2;
  if (prompts.empty()) prompts = {"green aurora", "orange fire"};
  fc_engine_config config{};
  config.size = sizeof config;
  fc_engine* engine = nullptr;
  check(fc_engine_open(&config, nullptr, nullptr, &engine));
  std::printf(
      "all but seams and time x 1000, in brackets the ratio to the first hundred\n%-13s %12s | %13s | %13s | "
      "%13s | %13s | seams | a chunk\n",
      "", "chunks", "mean", "contrast", "sharpness", "motion");
  for (const std::string& prompt : prompts) {
    std::printf("%s\n", prompt.c_str());
    for (const uint32_t clean : {2u, 1u}) run(engine, prompt, clean, chunks);
  }
  fc_engine_unref(engine);
  return 0;
}
