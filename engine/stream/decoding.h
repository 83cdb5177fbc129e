// SPDX-License-Identifier: LGPL-2.1-or-later
// The decoder's part of a stream: what it remembers from chunk to chunk. On a GPU it has a lane of its own, so a chunk is
// decoded while the next one's steps run.
#pragma once

#include <memory>

#include "stream/chunk.h"
#include "stream/initial_frames.h"
#include "stream/loaded_model.h"
#include "stream/seam_fade.h"

namespace flowcache {

// Driving thread only. The calling thread's lane makes the latents.
class Decoding {
 public:
  // `model` outlives this.
  explicit Decoding(const LoadedModel& model);

  // Decodes a prefix, so that the decoder remembers it.
  void run_prefix(const InitialFrames& prefix);
  // Fills in frames, `decoded` and, if host memory is wished for, the copy there. latent: [C, F, h, w]. prefix: may be
  // null. cut: do not fade from the chunk before.
  void decode(const at::Tensor& latent, const InitialFrames* prefix, bool cut, Chunk& chunk);
  // Waits until the chunk before the last one is decoded, so that at most one chunk waits for its decoder. Nothing but on
  // a GPU.
  void keep_up();
  // How long decoding has taken, as far as it is known: on a GPU, of the chunk before the last.
  double last_seconds() const { return last_seconds_; }
  // Waits for all that was begun.
  void wait() const { lane_->wait(); }

  // A decoder's state for a new stream. It may throw; then nothing has changed.
  std::unique_ptr<DecoderState> fresh() const;
  void restart(std::unique_ptr<DecoderState> fresh);
  std::shared_ptr<HostWish> host_wish() const { return host_wish_; }

 private:
  const LoadedModel& model_;
  LentLane lane_;
  std::unique_ptr<DecoderState> state_;
  at::Tensor shown_first_;  // frames of the prefix that come out with the next chunk
  SeamFade seam_fade_;
  std::shared_ptr<HostWish> host_wish_ = std::make_shared<HostWish>(false);
  struct Timed {
    Mark begin, end;
  };
  Timed last_, before_last_;
  double last_seconds_ = 0;
};

}  // namespace flowcache
