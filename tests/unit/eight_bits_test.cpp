// SPDX-License-Identifier: LGPL-2.1-or-later
// How far the shipped model's pictures are from those of fp32 in each precision, with what is multiplied in 8 bits, too.
// FLOWCACHE_TEST_CHUNKS: how many chunks (3).
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "families/factory.h"
#include "stream/stream.h"

using namespace flowcache;

namespace {

std::vector<at::Tensor> fire(Precision precision, int chunks) {
  const c10::InferenceMode inference;
  auto model = std::make_shared<LoadedModel>();
  model->package = flowcache::read_model(FLOWCACHE_SOURCE_DIR "/models/ambient");
  model->device = at::kCPU;
  model->compute = precision.compute;
  model->weights = precision.weights;
  model->text = make_text_encoder(model->package, at::kCPU);
  model->transformer = make_transformer(model->package, precision, at::kCPU);
  model->decoder = make_decoder(model->package, at::kFloat, at::kCPU);
  Stream stream(model, {.prompt = "orange fire", .seed = 1, .cache = "none", .width = 256, .height = 160});
  std::vector<at::Tensor> frames;
  for (int i = 0; i < chunks; ++i) frames.push_back(stream.next()->frames);
  return frames;
}

double psnr(const at::Tensor& a, const at::Tensor& b) {
  return -10 * std::log10((a - b).square().mean().item<double>());
}

// The distance of the last chunk tells whether errors grow, as every chunk's keys become history.
TEST(EightBits, TheShippedModelStaysNearFp32) {
  struct Case {
    const char* name;
    Precision precision;
    double least;  // dB
  };
  const at::ScalarType bf16 = at::kBFloat16, fp8 = at::kFloat8_e4m3fn, int8 = at::kChar;
  const int chunks =
      std::getenv("FLOWCACHE_TEST_CHUNKS") ? std::atoi(std::getenv("FLOWCACHE_TEST_CHUNKS")) : 3;
  const std::vector<at::Tensor> exact = fire(at::kFloat, chunks);
  for (const Case& one : {Case{"bf16", bf16, 55}, Case{"fp8", {bf16, fp8}, 38},
                          Case{"fp8, products in fp8", {bf16, fp8, fp8}, 37}, Case{"int8", {bf16, int8}, 48},
                          Case{"int8, products in int8", {bf16, int8, int8}, 47}}) {
    const std::vector<at::Tensor> frames = fire(one.precision, chunks);
    std::printf("%-24s", one.name);
    for (int i = 0; i < chunks; ++i) std::printf(" %5.1f", psnr(frames[i], exact[i]));
    std::printf(" dB, all %.1f\n", psnr(at::cat(frames), at::cat(exact)));
    EXPECT_GE(psnr(at::cat(frames), at::cat(exact)), one.least) << one.name;
  }
}

}  // namespace
