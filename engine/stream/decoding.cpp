// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/decoding.h"

#include <optional>

#include "base/stopwatch.h"
#include "stream/device.h"

namespace flowcache {

// Its lane comes first: the frames of a finished chunk are waited for, and the next chunk's are not yet.
Decoding::Decoding(const LoadedModel& model)
    : model_(model),
      lane_(model.device, /*first=*/true),
      state_(fresh()),
      seam_fade_(model.package.seam_fade_frames, model.package.latent_fade_frames,
                 model.package.frames_per_chunk / model.package.latent_frames_per_chunk) {}

std::unique_ptr<DecoderState> Decoding::fresh() const {
  const OnLane here(*lane_);
  return model_.decoder->open();
}

void Decoding::restart(std::unique_ptr<DecoderState> fresh) {
  const OnLane here(*lane_);
  state_ = std::move(fresh);
  shown_first_ = at::Tensor();
  seam_fade_.forget();
}

void Decoding::run_prefix(const InitialFrames& prefix) {
  const Mark made = Mark::here(model_.device);
  const OnLane here(*lane_);
  made.block();
  shown_first_ = prefix.decode_history(*state_);
}

void Decoding::decode(const at::Tensor& latent, const InitialFrames* prefix, bool cut, Chunk& chunk) {
  const Stopwatch watch;
  std::optional<ArithmeticThreads> alone;
  if (model_.threads_alone != model_.threads) alone.emplace(model_.threads_alone);
  const Mark made = Mark::here(model_.device);
  const OnLane here(*lane_);
  made.block();
  use_here(latent);
  before_last_ = last_;
  last_.begin = Mark::here(model_.device, /*timed=*/true);
  // A call that fails, for lack of memory, leaves the state as it was: the chunk can be decoded again.
  std::unique_ptr<DecoderState> next = state_->copy();
  at::Tensor frames = model_.decoder->decode(latent.transpose(0, 1).contiguous(), *next);
  if (prefix) frames = prefix->shown(chunk.index, frames);
  if (shown_first_.defined()) frames = at::cat({shown_first_, frames});
  seam_fade_.apply(frames, cut);
  state_ = std::move(next);
  shown_first_ = at::Tensor();
  if (frames.is_cuda()) frames = frames.contiguous();  // so that readers need not do it
  last_.end = chunk.decoded = Mark::here(model_.device, /*timed=*/true);
  chunk.frames = frames;
  if (*host_wish_) chunk.host.begin(frames);
  if (model_.device.is_cuda()) return;
  wait_for(model_.device);
  last_seconds_ = watch.seconds();
}

void Decoding::keep_up() {
  if (!model_.device.is_cuda()) return;
  before_last_.end.wait();
  last_seconds_ = Mark::seconds(before_last_.begin, before_last_.end);
}

}  // namespace flowcache
