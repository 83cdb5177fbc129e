// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/rehearsal.h"

#include <algorithm>

#include "base/stopwatch.h"
#include "stream/device.h"
#include "stream/noise.h"

namespace flowcache {
namespace {

template <class Work>
double seconds_of(at::Device device, const Work& work) {
  const Stopwatch watch;
  work();
  wait_for(device);
  return watch.seconds();
}

template <class Work>
double steady_seconds_of(at::Device device, double enough, const Work& work) {
  const double first = seconds_of(device, work);
  return first > enough ? first : std::min(first, seconds_of(device, work));
}

// Empties the KV caches of a stream that has not begun, when the rehearsal ends or throws.
class EmptyAtTheEnd {
 public:
  explicit EmptyAtTheEnd(StreamParts& parts) : parts_(parts) {}
  ~EmptyAtTheEnd() {
    for (const auto& kv : parts_.kv) kv->reset();
  }
  EmptyAtTheEnd(const EmptyAtTheEnd&) = delete;
  EmptyAtTheEnd& operator=(const EmptyAtTheEnd&) = delete;

 private:
  StreamParts& parts_;
};

// Times a step of the newest chunk in flight, with a history as full as it can be.
double rehearse_step(StreamParts& parts, const ConditionPair& conditions, const at::Tensor& latent,
                     double enough, const std::function<void()>& go_on) {
  int64_t next = 0;
  for (const auto& kv : parts.kv) {
    next = 0;
    for (; kv->history_tokens() + parts.model->tokens_per_chunk(parts.size) <= kv->budget_tokens(); ++next) {
      kv->admit(next, parts.first_frame(next));
      kv->finish(next);
    }
    for (int i = 0; i < parts.schedule.chunks_in_flight(); ++i, ++next)
      kv->admit(next, parts.first_frame(next));
  }
  const Transformer& network = *parts.network;
  const double timestep = parts.sampler->table().timestep.front();
  return steady_seconds_of(parts.model->device, enough, [&] {
    go_on();
    const Embedded embedded = network.embed(latent, std::span(&timestep, 1), parts.first_frame(next - 1));
    for (size_t branch = 0; branch < parts.kv.size(); ++branch) {
      const at::Tensor tokens = network.blocks(embedded, embedded.tokens, *conditions[branch],
                                               parts.kv[branch]->view(next - 1), 0, network.shape().layers);
      network.head(embedded, tokens);
    }
  });
}

double rehearse_decoding(const StreamParts& parts, const at::Tensor& latent, double enough,
                         const std::function<void()>& go_on) {
  const std::unique_ptr<DecoderState> state = parts.model->decoder->open();
  const at::Tensor latents = latent.transpose(0, 1).contiguous();
  return steady_seconds_of(parts.model->device, enough, [&] {
    go_on();
    parts.model->decoder->decode(latents, *state);
  });
}

}  // namespace

Rehearsal rehearse(StreamParts& parts, const ConditionPair& conditions, double enough,
                   const std::function<void()>& go_on) {
  const EmptyAtTheEnd empty(parts);
  const at::Tensor latent = draw_noise(parts.seed, -1, 0, parts.latent_shape(), parts.model->device);
  Rehearsal rehearsal;
  rehearsal.step_seconds = rehearse_step(parts, conditions, latent, enough, go_on);
  go_on();
  rehearsal.other_seconds =
      rehearse_decoding(parts, latent, enough, go_on) + (parts.clean_context ? rehearsal.step_seconds : 0);
  return rehearsal;
}

}  // namespace flowcache
