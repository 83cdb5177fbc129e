// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-window [CHUNKS]: the shipped model's chunk as it is streamed, with KV cache and reuse, against recomputing the
// whole window at every step, as samplers without a KV cache do. Interleaved, ratios from one run.
//
// The recomputed window is the history's chunks and the one being made, all through the network together at each of the
// steps; attention is full where a causal mask would leave out a quarter of it, which is a few per cent of the time.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/stopwatch.h"
#include "stream/stream.h"

namespace {

using namespace flowcache;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) try {
  const c10::InferenceMode inference;
  const int chunks = argc > 1 ? std::max(1, std::atoi(argv[1])) : 8;
  LoadOptions options;
  options.model = FLOWCACHE_SOURCE_DIR "/models/ambient";
  const auto model = LoadedModel::load(options, [](const char*, double) { return true; });
  const ModelPackage& package = model->package;
  StreamConfig cached, plain;
  cached.prompt = plain.prompt = "orange fire";
  plain.cache = "none";
  Stream with_reuse(model, cached), without_reuse(model, plain);
  const int64_t window = package.cache.value("history_chunks", 3) + 1;
  const int steps = without_reuse.stats().steps;
  const auto condition = model->transformer->condition(model->text->encode("orange fire").embedding);
  const at::Tensor latent = at::randn({package.latent_channels, window * package.latent_frames_per_chunk,
                                       package.latent_height, package.latent_width});
  OwnKeys alone;
  std::vector<double> recomputed, streamed, reused;
  for (int64_t c = 0; c < window; ++c) with_reuse.next(), without_reuse.next();  // until the history is full
  for (int c = 0; c < chunks; ++c) {
    const Stopwatch watch;
    for (int s = 0; s < steps; ++s) model->transformer->forward(latent, 500.0, 0, *condition, alone);
    // The decoder's share is the same in all three.
    recomputed.push_back(watch.seconds() + without_reuse.stats().last_decode_seconds);
    streamed.push_back(without_reuse.next()->seconds);
    reused.push_back(with_reuse.next()->seconds);
  }
  const double base = median(recomputed), kv = median(streamed), reuse = median(reused);
  std::printf("a chunk of %d steps, window of %ld chunks, median of %d\n", steps, static_cast<long>(window),
              chunks);
  std::printf("recomputing the window   %8.1f ms\n", 1e3 * base);
  std::printf("KV cache, no reuse       %8.1f ms  %5.2fx\n", 1e3 * kv, base / kv);
  std::printf("KV cache and reuse       %8.1f ms  %5.2fx\n", 1e3 * reuse, base / reuse);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench-window: %s\n", error.what());
  return 1;
}
