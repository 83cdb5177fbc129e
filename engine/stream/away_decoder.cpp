// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/away_decoder.h"

#include "stream/lane.h"

namespace flowcache {
namespace {

class AwayState final : public DecoderState {
 public:
  explicit AwayState(std::unique_ptr<DecoderState> of) : own(std::move(of)) {}
  std::unique_ptr<DecoderState> copy() const override { return std::make_unique<AwayState>(own->copy()); }
  std::unique_ptr<DecoderState> own;
};

class AwayDecoder final : public Decoder {
 public:
  AwayDecoder(std::unique_ptr<Decoder> decoder, at::Device away, at::Device home)
      : decoder_(std::move(decoder)), away_(away), home_(home), lane_(away, /*first=*/true) {}
  ~AwayDecoder() override { lane_->wait(); }

  std::unique_ptr<DecoderState> open() const override {
    const OnLane there(*lane_);
    return std::make_unique<AwayState>(decoder_->open());
  }

  // Between two GPUs a copy waits for the lanes of both, and both wait for it. Neither waits for this thread.
  at::Tensor decode(const at::Tensor& latents, DecoderState& state) const override {
    const OnLane there(*lane_);
    const bool both = away_.is_cuda() && home_.is_cuda();
    const at::Tensor taken = latents.to(away_, /*non_blocking=*/both);
    const at::Tensor frames = decoder_->decode(taken, *static_cast<AwayState&>(state).own);
    return frames.to(home_, /*non_blocking=*/both);
  }

  int64_t time_scale() const override { return decoder_->time_scale(); }
  int64_t space_scale() const override { return decoder_->space_scale(); }

 private:
  std::unique_ptr<Decoder> decoder_;
  at::Device away_, home_;
  LentLane lane_;
};

}  // namespace

std::unique_ptr<Decoder> make_away_decoder(std::unique_ptr<Decoder> decoder, at::Device away,
                                           at::Device home) {
  return std::make_unique<AwayDecoder>(std::move(decoder), away, home);
}

}  // namespace flowcache
