// SPDX-License-Identifier: LGPL-2.1-or-later
// Pictures that a stream repaints. Each feed has the frames of one chunk. They are encoded when they are given, on the
// giver's thread, beside the steps of the chunks before; the latents then wait until their chunk begins.
//
// A fed chunk begins at a step that its strength names (as SDEdit does, arXiv 2108.01073): from its own latents, with
// noise of that step's level.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "samplers/sampler.h"
#include "stream/lane.h"
#include "stream/loaded_model.h"

namespace flowcache {

// Returns its argument if it is 0..1; else throws FC_ERROR_ARGUMENT.
double check_strength(double strength);

// The step that a chunk of this strength begins with: of N steps the last round(strength N) run, below 1 the last N - 1 at
// most, because all N begin with noise alone. 0: as if nothing were fed; N: no step runs.
int begin_step(double strength, int steps);

// The latent that this step begins with, of a table's sigmas: (1 - sigma) clean + sigma noise.
at::Tensor begun_at(const at::Tensor& clean, const at::Tensor& noise, const StepTable& table, int step);

// The strength for frames that move: less by up to 0.1 the faster they move, and a tenth of it is the strength before (the
// motion-aware noise of StreamDiffusionV2, arXiv 2511.07399, section 4.1, with the constants of its code). Frames that follow
// none have the strength as given. frames: [n, 3, H, W] in 0..1; last: the frame before them, undefined if there is none;
// before: what this returned then.
double strength_in_motion(double strength, const at::Tensor& frames, const at::Tensor& last, double before);

struct Fed {
  Handed latent;  // [C, F, h, w] fp32, clean
  double strength = 1;
};

class Feed {
 public:
  // most: how many chunks may wait. before: chunks of the video before chunk 0. `model` outlives this.
  Feed(const LoadedModel& model, const PictureSize& size, size_t most, int64_t before);

  // ---- any thread
  // Of what give() gives the device, and of frames that are made for it there.
  const Lane& lane() const { return *lane_; }
  // How many frames the next call of give() takes. Throws FC_ERROR_NOT_FOUND or FC_ERROR_MODEL if the model has no encoder.
  int64_t frames_wanted();
  // frames: [n, 3, H, W] fp32 in 0..1, on the host or of this lane. restart: they do not follow those of the call before.
  // Returns the number of the chunk that they are for. Throws FC_ERROR_ARGUMENT for another number or size of frames, a
  // strength outside 0..1, and if too many chunks wait already; then nothing has changed. Errors of the encoder, as
  // frames_wanted().
  // follow_motion: strength_in_motion() is what counts.
  int64_t give(const at::Tensor& frames, double strength, bool restart, bool follow_motion = false);

  // ---- driving thread
  // What the next chunk is made of, if it was fed.
  std::optional<Fed> next() const;
  // The next chunk has begun, with what next() gave.
  void begun();
  // Back to chunk 0. Not during other calls.
  void restart();
  // Encodes grey frames like those of a chunk in the middle of the video, and gives the seconds that it takes. The first call may
  // take longer than others. Errors of the encoder, as frames_wanted().
  double rehearse();
  // Waits for all that was given to the device.
  void wait() const { lane_->wait(); }

 private:
  const FrameEncoder& encoder();
  std::unique_ptr<EncoderState> begin_with(const at::Tensor& frame);
  bool continues() const;  // the next feed's frames follow others

  const LoadedModel& model_;
  const PictureSize size_;
  const size_t most_;
  const int64_t before_;
  std::mutex giving_;  // one give() at a time; guards the next five
  LentLane lane_;
  std::shared_ptr<const FrameEncoder> encoder_;  // null until it is wanted
  std::unique_ptr<EncoderState> state_;          // null: the next frames follow none
  at::Tensor last_;                              // the newest frame that was given
  double followed_ = 1;                          // the strength that it was given with
  mutable std::mutex mutex_;                     // guards the rest; taken after `giving_`
  std::deque<Fed> waiting_;
  int64_t begun_ = 0;  // chunks that have begun
  bool gap_ = false;   // a chunk has begun without being fed since the last one that was
};

}  // namespace flowcache
