// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-slices TEMPLATE [SLICE…]: what two blocks of a model's shape take beside their weights, for one latent frame on one
// CPU thread, with tokens all at once and in slices. Random weights; TEMPLATE is a file of models/templates. Wan's blocks
// never take more than 64 rows at once on a CPU, so their figure is that of slices whatever is asked.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "../peak_memory.h"
#include "base/stopwatch.h"
#include "families/factory.h"

using namespace flowcache;
using nlohmann::json;

int main(int argc, char** argv) try {
  if (argc < 2) return std::fprintf(stderr, "bench-slices TEMPLATE [SLICE…]\n"), 2;
  const c10::InferenceMode inference;
  at::set_num_threads(1);
  const json model = json::parse(std::ifstream(argv[1]));
  ModelPackage package;
  package.family = model.at("family");
  package.transformer = model.at("transformer");
  package.random_weights = true;
  json& config = package.transformer.at("config");
  const bool magi = package.family == "magi";
  (magi ? config.at("model_config") : config)["num_layers"] = 2;
  const auto network = make_transformer(package, at::kBFloat16, at::kCPU);
  const json& video = model.at("video");
  const int64_t height = video.at("height"), width = video.at("width");
  const int64_t text = magi ? config.at("model_config").at("caption_channels") : config.at("text_dim");
  const at::Tensor latent = at::randn({network->shape().latent_channels, 1, height / 8, width / 8});
  const auto condition = network->condition(at::randn({32, text}));
  OwnKeys own;
  for (int i = 1; i < std::max(2, argc); ++i) {
    const int64_t slice = i == 1 ? 0 : std::atol(argv[i]);
    network->slice_tokens(slice);
    const Stopwatch watch;
    const int64_t peak = test::peak_bytes([&] { network->forward(latent, 0.5, 0, *condition, own); });
    std::printf("slices of %6ld tokens: %8.1f MB, %6.1f s\n", static_cast<long>(slice),
                static_cast<double>(peak) / 1e6, watch.seconds());
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
