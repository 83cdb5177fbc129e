// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-forward [MODEL [fp32|bf16 [THREADS [RUNS [forward [HISTORY]]]]]]: times the parts of one chunk of a model, with
// a full history; "forward": its transformer alone. THREADS 0: as many as the process may use. HISTORY: chunks in front,
// those of the model by default.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "base/resources.h"
#include "families/factory.h"

namespace {

using namespace flowcache;

// Random history in front, the chunk's own keys behind it: what a chunk finds in a stream that has run for a
// while.
class FullHistory final : public KvView {
 public:
  FullHistory(const TransformerShape& shape, int64_t history, int64_t own, at::ScalarType type)
      : history_(history) {
    for (int i = 0; i < shape.layers; ++i)
      for (auto* side : {&keys_, &values_})
        side->push_back(at::randn({shape.kv_heads, history + own, shape.head_dim}).to(type));
  }
  KeyValue append(int layer, const at::Tensor&, const KeyValue& own) override {
    keys_[layer].narrow(1, history_, own.k.size(1)).copy_(own.k);
    values_[layer].narrow(1, history_, own.v.size(1)).copy_(own.v);
    return {keys_[layer], values_[layer]};
  }

 private:
  int64_t history_;
  std::vector<at::Tensor> keys_, values_;
};

// Least and median milliseconds.
void report(const char* what, int runs, const std::function<void()>& work) {
  std::vector<double> ms;
  for (int i = 0; i < runs + 2; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (i >= 2) ms.push_back(took.count());
  }
  std::sort(ms.begin(), ms.end());
  std::printf("%s min %.2f median %.2f ms\n", what, ms.front(), ms[ms.size() / 2]);
}

}  // namespace

int main(int argc, char** argv) try {
  const c10::InferenceMode inference;
  const std::string folder = argc > 1 ? argv[1] : FLOWCACHE_SOURCE_DIR "/models/ambient";
  const at::ScalarType type = argc > 2 && std::string(argv[2]) == "bf16" ? at::kBFloat16 : at::kFloat;
  at::set_num_threads(static_cast<int>(checked_threads(argc > 3 ? std::atoi(argv[3]) : 0)));
  const int runs = argc > 4 ? std::max(1, std::atoi(argv[4])) : 20;

  const ModelPackage package = read_package(folder);
  const auto transformer = make_transformer(package, type, at::kCPU);
  const auto condition = transformer->condition(make_text_encoder(package, at::kCPU)->encode("").embedding);
  const int64_t frames = package.latent_frames_per_chunk;
  const at::Tensor latent =
      at::randn({package.latent_channels, frames, package.latent_height, package.latent_width});
  const int64_t tokens =
      frames * transformer->shape().tokens_per_frame(package.latent_height, package.latent_width);
  const int64_t history = tokens * (argc > 6 ? std::atoi(argv[6]) : package.cache.value("history_chunks", 3));
  FullHistory kv(transformer->shape(), history, tokens, type);

  std::printf("%s %s threads %d queries %ld history %ld\n", package.name.c_str(),
              type == at::kFloat ? "fp32" : "bf16", at::get_num_threads(), static_cast<long>(tokens),
              static_cast<long>(history));
  report("forward", runs, [&] { transformer->forward(latent, 500.0, 9, *condition, kv); });
  if (argc > 5) return 0;
  const auto decoder = make_decoder(package, type, at::kCPU);
  const auto state = decoder->open();
  const at::Tensor latents = latent.transpose(0, 1).contiguous();
  report("decode ", runs / 4 + 1, [&] { decoder->decode(latents, *state); });
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench-forward: %s\n", error.what());
  return 1;
}
