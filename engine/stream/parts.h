// SPDX-License-Identifier: LGPL-2.1-or-later
// What one stream works with, put together from what was asked for and what the model says.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cache/kv/kv_store.h"
#include "samplers/sampler.h"
#include "stream/config.h"
#include "stream/guidance.h"
#include "stream/initial_frames.h"
#include "stream/loaded_model.h"
#include "stream/offload.h"
#include "stream/residual/residual.h"
#include "stream/schedule.h"

namespace flowcache {

// Driving thread only.
struct StreamParts {
  std::shared_ptr<const LoadedModel> model;
  PictureSize size;
  std::unique_ptr<Sampler> sampler;
  Schedule schedule{1, 1};
  std::unique_ptr<ReusePolicy> policy;
  std::unique_ptr<Residual> residual;  // of the policy's kind
  std::unique_ptr<Residual> tail;      // null, or what a decision with `tail` applies
  std::unique_ptr<CopyLane> lane;      // null: what chunks keep stays in the network's memory
  Guidance guidance{1, nullptr};
  std::vector<std::unique_ptr<KvStore>> kv;       // one a branch
  std::unique_ptr<InitialFrames> initial_frames;  // null: the video begins with chunk 0
  uint64_t seed = 0;
  bool clean_context = false;  // a finished chunk runs once more, clean, for its history
  bool steers_threshold = false;
  double threshold = 0, default_threshold = 0;  // ε to begin with, and where nothing else was asked for
  double scale = 1, default_scale = 1;          // of guidance, likewise
  // For policies that reuse across chunks: what each step left, [step][branch].
  std::vector<PerBranch<Residuals>> across;
  // For tests: the noise of a chunk's draw, [C, F, h, w], instead of the seed's.
  std::function<at::Tensor(int64_t chunk, int64_t draw)> noise;

  // Of a chunk's latent: [C, F, h, w].
  std::vector<int64_t> latent_shape() const;
  // Absolute latent frame that a chunk begins with.
  int64_t first_frame(int64_t chunk) const;
  // Do the step's keys and values become history (rule R1)?
  bool writes_history(int step) const { return !clean_context && step + 1 == schedule.steps(); }
};

// Fills every default and checks every range. Throws FC_ERROR_ARGUMENT, FC_ERROR_NOT_FOUND, FC_ERROR_MEMORY (the KV
// buffer would not fit: figures).
StreamParts assemble(std::shared_ptr<const LoadedModel> model, const StreamConfig& config);

}  // namespace flowcache
