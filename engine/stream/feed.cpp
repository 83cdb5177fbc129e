// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/feed.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/stopwatch.h"
#include "base/words.h"
#include "stream/device.h"
#include "stream/work.h"

namespace flowcache {

double check_strength(double strength) {
  if (!(strength >= 0 && strength <= 1))
    throw Error(FC_ERROR_ARGUMENT,
                "strength=" + number(strength) + " is outside 0..1; 0 shows the input, 1 ignores it");
  return strength;
}

int begin_step(double strength, int steps) {
  const int most = strength < 1 ? std::max(1, steps - 1) : steps;
  return steps - std::min(static_cast<int>(std::lround(strength * steps)), most);
}

at::Tensor begun_at(const at::Tensor& clean, const at::Tensor& noise, const StepTable& table, int step) {
  if (step == 0) return noise;
  if (step == table.steps()) return clean;
  const double sigma = table.sigma[static_cast<size_t>(step)];
  return clean * (1 - sigma) + noise * sigma;
}

double strength_in_motion(double strength, const at::Tensor& frames, const at::Tensor& last, double before) {
  if (!last.defined()) return strength;
  const at::Tensor change = frames - at::cat({last, frames}).narrow(0, 0, frames.size(0));
  // Their pixels are in -1..1, where a change is twice as large, and 0.2 counts as fast.
  const double fastest = change.square().mean({1, 2, 3}).sqrt().max().item<double>() * 2 / 0.2;
  const double now = strength - 0.1 * std::min(fastest, 1.0);
  return std::clamp(0.9 * now + 0.1 * before, 0.0, 1.0);
}

Feed::Feed(const LoadedModel& model, const PictureSize& size, size_t most, int64_t before)
    : model_(model), size_(size), most_(most), before_(before), lane_(model.device) {}

const FrameEncoder& Feed::encoder() {
  if (!encoder_) encoder_ = model_.frame_encoder();
  return *encoder_;
}

bool Feed::continues() const {
  const std::lock_guard lock(mutex_);
  return state_ && !gap_;
}

// Frames that follow none in the middle of a video: the decoder goes on, so the encoder acts as if the first of them had
// stood still before.
std::unique_ptr<EncoderState> Feed::begin_with(const at::Tensor& frame) {
  std::unique_ptr<EncoderState> state = encoder().open();
  const int64_t count = encoder().frames_for(1, *state);
  encoder().encode_next(frame.expand({count, -1, -1, -1}), *state);
  return state;
}

int64_t Feed::frames_wanted() {
  const std::lock_guard giving(giving_);
  const Work work(model_, *lane_);
  const int64_t latents = model_.package.latent_frames_per_chunk;
  if (continues()) return encoder().frames_for(latents, *state_);
  const std::unique_ptr<EncoderState> fresh = encoder().open();
  const int64_t first = encoder().frames_for(latents, *fresh);
  const std::lock_guard lock(mutex_);
  const bool in_the_middle = begun_ + before_ + static_cast<int64_t>(waiting_.size()) > 0;
  return in_the_middle ? latents * model_.decoder->time_scale() : first;
}

int64_t Feed::give(const at::Tensor& frames, double strength, bool restart, bool follow_motion) {
  check_strength(strength);
  if (frames.dim() != 4 || frames.size(1) != 3 || Pixels{frames.size(3), frames.size(2)} != size_.pixels)
    throw Error(FC_ERROR_ARGUMENT, "the frames are " + shape_text(frames.sizes()) + ", the video is " +
                                       size_.pixels.text() + ": scale them to that size");
  const int64_t wanted = frames_wanted();
  const std::lock_guard giving(giving_);
  const Work work(model_, *lane_);
  int64_t chunk = 0;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= most_)
      throw Error(FC_ERROR_ARGUMENT,
                  std::to_string(waiting_.size()) +
                      " fed chunks wait already: call fc_stream_next() before more are fed");
    chunk = begun_ + static_cast<int64_t>(waiting_.size());
  }
  const bool in_the_middle = chunk + before_ > 0;
  if (frames.size(0) != wanted)
    throw Error(FC_ERROR_ARGUMENT, std::to_string(frames.size(0)) + " frames are fed, chunk " +
                                       std::to_string(chunk) + " takes " + std::to_string(wanted) +
                                       " (fc_stream_feed_frames())");
  const at::Tensor own = frames.to(model_.device);
  const bool follows = continues() && !restart;
  std::unique_ptr<EncoderState> state = follows         ? state_->copy()
                                        : in_the_middle ? begin_with(own.narrow(0, 0, 1))
                                                        : encoder().open();
  const at::Tensor latent = encoder().encode_next(own, *state).to(at::kFloat).transpose(0, 1).contiguous();
  if (follow_motion)
    strength =
        strength_in_motion(strength, frames, follows ? last_.to(frames.device()) : at::Tensor(), followed_);
  const at::Tensor last = frames.narrow(0, frames.size(0) - 1, 1).clone();
  const std::lock_guard lock(mutex_);
  waiting_.push_back({Handed(latent), strength});
  last_ = last;
  followed_ = strength;
  state_ = std::move(state);
  gap_ = false;
  return begun_ + static_cast<int64_t>(waiting_.size()) - 1;
}

double Feed::rehearse() {
  const std::lock_guard giving(giving_);
  const Work work(model_, *lane_);
  const int64_t count = model_.package.latent_frames_per_chunk * model_.decoder->time_scale();
  const at::Tensor grey = at::full({count, 3, size_.pixels.height, size_.pixels.width}, 0.5f,
                                   at::TensorOptions().device(model_.device));
  const std::unique_ptr<EncoderState> state = begin_with(grey.narrow(0, 0, 1));
  const Stopwatch watch;
  encoder().encode_next(grey, *state);
  wait_for(model_.device);
  return watch.seconds();
}

std::optional<Fed> Feed::next() const {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) return {};
  return waiting_.front();
}

void Feed::begun() {
  const std::lock_guard lock(mutex_);
  ++begun_;
  if (waiting_.empty())
    gap_ = true;
  else
    waiting_.pop_front();
}

void Feed::restart() {
  const std::lock_guard giving(giving_);
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  state_.reset();
  begun_ = 0;
  gap_ = false;
}

}  // namespace flowcache
