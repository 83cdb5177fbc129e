// SPDX-License-Identifier: LGPL-2.1-or-later
// A stream on the spare device beside the same one on the CPU.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "spare_device.h"
#include "spare_models.h"
#include "stream/stream.h"

namespace spare {

using flowcache::Stream;
using flowcache::StreamConfig;

// Decibels of the peak signal, 1, over the noise; infinite for equal ones.
inline double psnr(const at::Tensor& a, const at::Tensor& b) {
  return -10 * std::log10((a - b).square().mean().item<double>());
}

// The same model on both. Making one takes longer than some streams.
struct Models {
  std::shared_ptr<LoadedModel> there, here;
  explicit Models(const MakeModel& make) : there(make(device)), here(make(at::kCPU)) {}
  void change(const std::function<void(flowcache::ModelPackage&)>& change) const {
    change(there->package);
    change(here->package);
  }
};

constexpr double least_psnr = 120;

// Of what the wanted one varies by: pictures of made-up weights are almost grey, and latents have no peak.
inline double distance(const at::Tensor& got, const at::Tensor& want) {
  return ((got - want).norm() / (want - want.mean()).norm()).item<double>();
}
constexpr double most_distance = 1e-5;

class Streams {
 public:
  Streams(const Models& models, const StreamConfig& config)
      : there(models.there, config), here(models.here, config) {}
  // What is asked of a stream is asked of both.
  void both(const std::function<void(Stream&)>& call) {
    call(there);
    call(here);
  }
  // Further chunks, each with the same decisions and pictures.
  void expect_same(int chunks, const std::string& what) {
    for (int i = 0; i < chunks; ++i) {
      const auto got = there.next(), want = here.next();
      ASSERT_EQ(got->frames.device(), device) << what;
      EXPECT_EQ(got->decisions, want->decisions) << what << ", chunk " << want->index;
      EXPECT_EQ(got->prompt_ticket, want->prompt_ticket) << what << ", chunk " << want->index;
      EXPECT_EQ(got->kv_bytes, want->kv_bytes) << what << ", chunk " << want->index;
      const at::Tensor frames = got->frames.cpu();
      EXPECT_GE(psnr(frames, want->frames), least_psnr) << what << ", chunk " << want->index;
      EXPECT_LE(distance(frames, want->frames), most_distance) << what << ", chunk " << want->index;
      EXPECT_LE(distance(got->latent.cpu(), want->latent), most_distance)
          << what << ", chunk " << want->index;
    }
  }
  Stream there, here;
};

}  // namespace spare
