// SPDX-License-Identifier: LGPL-2.1-or-later
// Before the first chunk of a governed stream: what a step and decoding take on this machine, so that the
// first chunk already computes as many steps as there is time for. Nothing of it stays.
#include <algorithm>

#include "stream/device.h"
#include "stream/noise.h"
#include "stream/stream.h"

namespace flowcache {
namespace {

template <class Work>
double seconds_of(at::Device device, const Work& work) {
  const Stopwatch watch;
  work();
  wait_for(device);
  return watch.seconds();
}

// Of the second of two runs, as the first also pays for what later ones find ready; of the first alone if it
// took longer than `enough`, where a second would only cost time.
template <class Work>
double steady_seconds_of(at::Device device, double enough, const Work& work) {
  const double first = seconds_of(device, work);
  return first > enough ? first : std::min(first, seconds_of(device, work));
}

}  // namespace

void Stream::rehearse() {
  const auto clear = [this] {
    for (const auto& kv : kv_) kv->reset();
  };
  const at::Tensor latent = draw_noise(seed_, -1, 0, latent_shape(), model_->device);
  try {
    const double step = rehearse_step(latent);
    check_cancelled();
    const double other = rehearse_decoding(latent) + (clean_context_ ? step : 0);
    governor_->deadline(deadline_);
    governor_->expect(step, other);
  } catch (...) {
    clear();
    throw;
  }
  clear();
  follow_governor();
  rehearsed_ = true;
}

// Of the newest chunk in flight, behind a history as full as it becomes.
double Stream::rehearse_step(const at::Tensor& latent) {
  int64_t next = 0;
  for (const auto& kv : kv_) {
    next = 0;
    for (; kv->history_tokens() + model_->tokens_per_chunk(size_) <= kv->budget_tokens(); ++next) {
      kv->admit(next, first_frame(next));
      kv->finish(next);
    }
    for (int i = 0; i < schedule_.chunks_in_flight(); ++i, ++next) kv->admit(next, first_frame(next));
  }
  const Transformer& network = *model_->transformer;
  const std::array<std::shared_ptr<const Condition>, max_branches> conditions = {
      network.condition(prompts_->features()), null_condition_};
  const double timestep = sampler_->table().timestep.front();
  return steady_seconds_of(model_->device, deadline_, [&] {
    check_cancelled();
    const Embedded embedded = network.embed(latent, std::span(&timestep, 1), first_frame(next - 1));
    for (size_t branch = 0; branch < kv_.size(); ++branch) {
      const at::Tensor tokens = network.blocks(embedded, embedded.tokens, *conditions[branch],
                                               kv_[branch]->view(next - 1), 0, network.shape().layers);
      network.head(embedded, tokens);
    }
  });
}

double Stream::rehearse_decoding(const at::Tensor& latent) {
  const std::unique_ptr<DecoderState> state = model_->decoder->open();
  const at::Tensor latents = latent.transpose(0, 1).contiguous();
  return steady_seconds_of(model_->device, deadline_, [&] {
    check_cancelled();
    model_->decoder->decode(latents, *state);
  });
}

}  // namespace flowcache
