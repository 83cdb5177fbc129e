// SPDX-License-Identifier: LGPL-2.1-or-later
// The parts that a stream works with, made from its settings and its model.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cache/kv/kv_store.h"
#include "samplers/sampler.h"
#include "stream/block_graphs.h"
#include "stream/conditions.h"
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
  std::shared_ptr<const Transformer> network;  // of chunks that begin: the model's, or one with other LoRAs
  PictureSize size;
  std::unique_ptr<Sampler> sampler;
  std::unique_ptr<Sampler> first_sampler;  // of chunk 0; null: as all others
  Schedule schedule{1, 1};
  std::unique_ptr<ReusePolicy> policy;
  std::unique_ptr<Residual> residual;   // of the policy's kind
  std::unique_ptr<Residual> tail;       // applied by decisions with `tail`; null if the policy makes none
  std::unique_ptr<CopyLane> lane;       // null: residuals stay in the device's memory
  std::unique_ptr<BlockGraphs> graphs;  // null: every kernel is launched on its own
  Guidance guidance{1, nullptr};
  std::vector<std::unique_ptr<KvStore>> kv;  // one for each branch
  // Makes `kv` as it is at first: empty, of the sizes that the ranks have now. Throws what assemble() does of them.
  std::function<std::vector<std::unique_ptr<KvStore>>(const StreamParts&)> make_kv;
  std::unique_ptr<InitialFrames> initial_frames;  // null: the video begins with chunk 0
  uint64_t seed = 0;
  bool clean_context = false;  // a finished chunk runs once more, clean, to write its history
  bool steers_threshold = false;
  double threshold = 0, default_threshold = 0;  // ε at the start, and if none is set
  double scale = 1, default_scale = 1;          // guidance scale at the start, and if none is set
  // For policies that reuse across chunks: the residual of each step, [step][branch].
  std::vector<PerBranch<Residuals>> across;
  std::vector<ConditionPair>
      across_conditions;  // that they were computed under, [step]; of another network others
  // For tests: gives the noise [C, F, h, w] of a chunk's draw, instead of the seed.
  std::function<at::Tensor(int64_t chunk, int64_t draw)> noise;
  bool keys_get_lost = false;  // for tests: the next pass through the network throws RanksChanged

  // The shape of a chunk's latent: [C, F, h, w].
  std::vector<int64_t> latent_shape() const;
  // The number of the chunk's first latent frame in the video, the prefix included.
  int64_t first_frame(int64_t chunk) const;
  const Sampler& sampler_of(int64_t chunk) const {
    return chunk == 0 && first_sampler ? *first_sampler : *sampler;
  }
  // True if the keys and values of this step become history (rule R1).
  bool writes_history(int64_t chunk, int step) const {
    return !clean_context && step + 1 == schedule.steps_of(chunk);
  }
};

// Fills in all defaults and checks all ranges. Throws FC_ERROR_ARGUMENT, FC_ERROR_NOT_FOUND, and
// FC_ERROR_MEMORY, with figures, if the KV buffer would not fit.
StreamParts assemble(std::shared_ptr<const LoadedModel> model, const StreamConfig& config);

}  // namespace flowcache
