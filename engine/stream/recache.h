// SPDX-License-Identifier: LGPL-2.1-or-later
// The KV re-cache of LongLive (arXiv 2509.22622): when the prompt changes, the chunks that the KV cache holds run once more,
// clean, under the new prompt. The scene goes on, because these chunks stay, and its content follows at once, because
// nothing in the history speaks of the old prompt any more.
//
// A stream whose network has lost a rank makes its history anew in the same way (Stream::write_keys_anew()).
//
// For that the latents that the keys of chunks in the history were computed from are kept: of chunks that hold most of it, and no
// more of them than a budget's worth of chunks and one. A policy that keeps single tokens of many older chunks so begins again with these.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>

#include "stream/conditions.h"
#include "stream/live_chunk.h"
#include "stream/parts.h"

namespace flowcache {

// Why a stream with these parts cannot re-cache, with the alternative; "" if it can.
std::string recache_problem(const StreamParts& parts);

// Driving thread only.
class Recache {
 public:
  // Takes the memory of all latents that will be kept, so that nothing is allocated while the stream runs. Before keep().
  void reserve(const StreamParts& parts);
  // The chunks that the stream was given are history. Before chunk 0.
  void keep_given(const StreamParts& parts);
  // Chunk `index` has become history. change: what KvStore::finish() got.
  void keep(const StreamParts& parts, int64_t index, const Written& written, const at::Tensor& change);
  // Chunks from `index` on are no history, although they may have been kept.
  void take_back(int64_t index);
  // Before the stores are dropped whose keys are lost: chunks that they held nothing of need not run again.
  void keys_are_lost(const StreamParts& parts);
  bool empty() const { return past_.empty(); }
  // The history was dropped, or the stream restarts.
  void forget();

  // From now on go_on() has to run the history, under the newest prompt.
  void want() { wanted_ = true; }
  bool wanted() const { return wanted_; }
  struct Cost {
    int chunks = 0;
    double seconds = 0, flops = 0;
  };
  // Makes the history anew, oldest chunk first. check: called before each chunk; it may throw, and the next call then goes
  // on from there. A failure within a chunk, which a cancellation may be, leaves an empty history, and the next call makes all of
  // it. Returns the cost of all
  // calls that it took.
  Cost go_on(StreamParts& parts, const ConditionPair& conditions, const std::function<void()>& check);

  uint64_t bytes() const;

 private:
  struct Past {
    int64_t index;        // negative: of the frames that the stream was given
    int64_t first_frame;  // where the KV cache has it
    Written written;      // the latent is undefined for given frames, which are kept elsewhere
    at::Tensor change;
  };

  at::Tensor kept(const at::Tensor& latent) const;
  void drop_least(const StreamParts& parts);
  void sift(std::map<int64_t, int64_t> held);
  void begin(const StreamParts& parts);
  double run(StreamParts& parts, const ConditionPair& conditions, const Past& past) const;

  at::Tensor rows_;        // [chunks, C, F, h, w]; the latents of past_ are rows of it
  std::deque<Past> past_;  // oldest first
  bool wanted_ = false, begun_ = false;
  bool sifted_ = false;  // past_ has only what the history holds
  size_t done_ = 0;      // of past_, since begin()
  Cost cost_;
};

}  // namespace flowcache
