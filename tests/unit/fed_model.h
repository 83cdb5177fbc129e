// SPDX-License-Identifier: LGPL-2.1-or-later
// A tiny model that can be fed, and pictures for it.
#pragma once

#include <memory>

#include "stream/noise.h"
#include "tiny_model.h"

namespace flowcache::test {

// Latents whose first three channels are the picture, shrunk to a latent's size, and one number of what went before: what
// LatentDecoder shows again. The first frame of a video is a group of its own, as with Wan's VAE: here it counts double.
class TestEncoder final : public FrameEncoder {
 public:
  struct State final : EncoderState {
    std::unique_ptr<EncoderState> copy() const override { return std::make_unique<State>(*this); }
    bool first = true;
    at::Tensor last;
  };
  at::Tensor encode(const at::Tensor& frames) const override { return encode_next(frames, *open()); }
  std::unique_ptr<EncoderState> open() const override { return std::make_unique<State>(); }
  int64_t frames_for(int64_t latents, const EncoderState& state) const override {
    return latents - (static_cast<const State&>(state).first && latents > 1 ? 1 : 0);
  }
  at::Tensor encode_next(const at::Tensor& frames, EncoderState& state) const override {
    State& s = static_cast<State&>(state);
    at::Tensor all = s.first && frames.size(0) > 1 ? at::cat({frames.narrow(0, 0, 1), frames}) : frames;
    const at::Tensor past =
        at::cat({s.first ? at::zeros_like(all.narrow(0, 0, 1)) : s.last, all}).narrow(0, 0, all.size(0));
    s.first = false;
    s.last = all.narrow(0, all.size(0) - 1, 1);
    const at::Tensor small = at::avg_pool2d(all, {8, 8}), before = at::avg_pool2d(past, {8, 8});
    return at::cat({small.logit(0.05), before, at::zeros({all.size(0), 10, 6, 8})}, 1);
  }
};

inline std::shared_ptr<LoadedModel> fed_model() {
  auto model = tiny_model();
  model->encoder = std::make_shared<TestEncoder>();
  return model;
}

inline at::Tensor frames(int64_t count, int64_t seed) {
  return draw_noise(static_cast<uint64_t>(seed), 0, 0, {count, 3, 48, 64}, at::kCPU).sigmoid();
}

}  // namespace flowcache::test
