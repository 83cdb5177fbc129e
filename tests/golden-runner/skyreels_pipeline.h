// SPDX-License-Identifier: LGPL-2.1-or-later
// SkyReels-V2's diffusion-forcing pipeline as FlowCache's fork runs it, block by block, made from the
// engine's parts.
#pragma once

#include <map>
#include <vector>

#include "cache/kv/kv_policy.h"
#include "cache/reuse/flowcache.h"
#include "networks/transformer.h"
#include "samplers/sampler.h"
#include "schedule_views.h"

namespace golden {

// The fork's memory of one guidance branch, with a slot for each block. Finished blocks are "clean". A
// forward pass that finds more than `budget_blocks` of them first reduces them, layer by layer, with its own
// queries. (The engine's KvStore reduces history when a chunk finishes.)
class SkyReelsMemory {
 public:
  // With a null policy or budget 0 all blocks are kept.
  SkyReelsMemory(int layers, int64_t tokens_per_block, int64_t budget_blocks, flowcache::KvPolicy* policy)
      : tokens_(tokens_per_block),
        budget_(budget_blocks),
        policy_(policy),
        layers_(static_cast<size_t>(layers)) {}

  // Writes the block's slot and returns the keys and values that it attends.
  flowcache::KeyValue append(int block, int layer, const at::Tensor& q, const flowcache::KeyValue& own);
  void finished(int block) { clean_.push_back(block); }
  // The kept tokens of every reduction, layer by layer: [tokens, heads].
  const std::vector<at::Tensor>& kept() const { return kept_; }

 private:
  struct Layer {
    flowcache::KeyValue compressed;  // from the clean blocks that were reduced
    std::map<int, flowcache::KeyValue> blocks;
  };
  void shrink(Layer& layer, const at::Tensor& q);
  flowcache::KeyValue gather(const Layer& layer, int last_block, bool clean_only) const;

  int64_t tokens_, budget_;
  flowcache::KvPolicy* policy_;
  std::vector<Layer> layers_;
  std::vector<int> clean_;  // numbers of the clean blocks
  std::vector<at::Tensor> kept_;
};

struct SkyReelsRun {
  int steps = 0, lag = 0, frames_per_block = 0, blocks = 0;
  double guidance = 1;
  double threshold = 0;
  bool cache = false;
  flowcache::FlowCacheConfig reuse;
  int64_t budget_blocks = 0;
};

class SkyReelsPipeline {
 public:
  struct Branch {
    std::shared_ptr<const flowcache::Condition> condition;
    flowcache::FlowCacheReuse reuse;
    SkyReelsMemory memory;
    std::map<int, at::Tensor>
        residual;  // tokens after all blocks minus those before, at the last computed step
  };
  // branches: conditional, unconditional. Latents [C, frames, h, w].
  SkyReelsPipeline(const flowcache::Transformer& model, const flowcache::Sampler& sampler,
                   const SkyReelsRun& run, std::vector<Branch> branches, const at::Tensor& noise);

  struct Row {
    std::vector<int> timestep, update;                          // one for each block
    std::vector<std::map<int, flowcache::Decision>> decisions;  // for each branch, by block
  };
  int rows() const { return static_cast<int>(matrix_.index.size()); }
  Row step(int row);
  const at::Tensor& latents() const { return latents_; }
  const Branch& branch(size_t i) const { return branches_[i]; }

 private:
  at::Tensor block(int b) const {
    return latents_.narrow(1, b * run_.frames_per_block, run_.frames_per_block);
  }
  at::Tensor velocity(Branch& branch, int b, int step, flowcache::Decision& decision);

  const flowcache::Transformer& model_;
  const flowcache::Sampler& sampler_;
  SkyReelsRun run_;
  std::vector<Branch> branches_;
  at::Tensor latents_;
  flowcache::StepMatrix matrix_;
  std::vector<std::unique_ptr<flowcache::SamplerState>> states_;
};

}  // namespace golden
