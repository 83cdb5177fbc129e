// SPDX-License-Identifier: LGPL-2.1-or-later
#include "skyreels_pipeline.h"

#include <algorithm>

namespace golden {

using namespace flowcache;

namespace {

class BlockView final : public KvView {
 public:
  BlockView(SkyReelsMemory& memory, int block) : memory_(memory), block_(block) {}
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    return memory_.append(block_, layer, q, own);
  }

 private:
  SkyReelsMemory& memory_;
  int block_;
};

}  // namespace

KeyValue SkyReelsMemory::gather(const Layer& layer, int last_block, bool clean_only) const {
  std::vector<at::Tensor> k, v;
  if (layer.compressed.k.defined()) {
    k.push_back(layer.compressed.k);
    v.push_back(layer.compressed.v);
  }
  for (const auto& [block, kv] : layer.blocks) {
    const bool clean = std::find(clean_.begin(), clean_.end(), block) != clean_.end();
    if (block > last_block || (clean_only && !clean)) continue;
    k.push_back(kv.k);
    v.push_back(kv.v);
  }
  return {at::cat(k, 1), at::cat(v, 1)};
}

void SkyReelsMemory::shrink(Layer& layer, const at::Tensor& q) {
  const KeyValue clean = gather(layer, clean_.back(), true);
  const HistoryLayer history{
      .k = clean.k, .v = clean.v, .queries = q, .tokens_per_frame = tokens_, .tokens_per_chunk = tokens_};
  const at::Tensor slots = policy_->keep(history, budget_ * tokens_);  // [heads, kept]
  kept_.push_back(slots.transpose(0, 1).to(at::kInt));
  const at::Tensor index = slots.unsqueeze(-1).expand({-1, -1, clean.k.size(2)});
  layer.compressed = {clean.k.gather(1, index), clean.v.gather(1, index)};
  for (const int block : clean_) layer.blocks.erase(block);
}

KeyValue SkyReelsMemory::append(int block, int index, const at::Tensor& q, const KeyValue& own) {
  Layer& layer = layers_[static_cast<size_t>(index)];
  layer.blocks[block] = {own.k.clone(), own.v.clone()};
  if (policy_ && budget_ > 0 && static_cast<int64_t>(clean_.size()) > budget_) {
    shrink(layer, q);
    // All layers of this forward pass use the old list; the last one shortens it.
    if (index + 1 == static_cast<int>(layers_.size())) clean_.erase(clean_.begin(), clean_.end() - budget_);
  }
  return gather(layer, block, false);
}

SkyReelsPipeline::SkyReelsPipeline(const Transformer& model, const Sampler& sampler, const SkyReelsRun& run,
                                   std::vector<Branch> branches, const at::Tensor& noise)
    : model_(model),
      sampler_(sampler),
      run_(run),
      branches_(std::move(branches)),
      latents_(noise.clone()),
      matrix_(step_matrix(run.steps, run.lag, run.blocks, 0, run.blocks)) {
  for (int b = 0; b < run.blocks; ++b) states_.push_back(sampler.begin_chunk());
}

at::Tensor SkyReelsPipeline::velocity(Branch& branch, int b, int step, Decision& decision) {
  const double timestep = sampler_.table().timestep[static_cast<size_t>(step)];
  const Embedded embedded = model_.embed(block(b), std::span(&timestep, 1), b * run_.frames_per_block);
  if (run_.cache) {
    const ChunkStep asked{.info = {.chunk = b, .step = step, .steps = run_.steps, .timestep = timestep},
                          .features = {.modulation = embedded.modulation}};
    decision = branch.reuse.decide(std::span(&asked, 1), run_.threshold)[0];
  }
  at::Tensor tokens = embedded.tokens;
  if (decision.action == Action::reuse) {
    tokens = tokens + branch.residual.at(b);
  } else {
    BlockView view(branch.memory, b);
    tokens = model_.blocks(embedded, tokens, *branch.condition, view, 0, model_.shape().layers);
    branch.residual[b] = tokens - embedded.tokens;
  }
  if (step + 1 == run_.steps) branch.memory.finished(b);
  return model_.head(embedded, tokens);
}

SkyReelsPipeline::Row SkyReelsPipeline::step(int row) {
  const auto& index = matrix_.index[static_cast<size_t>(row)];
  const auto& update = matrix_.update[static_cast<size_t>(row)];
  Row report;
  report.decisions.resize(branches_.size());
  std::vector<std::map<int, at::Tensor>> velocities(branches_.size());
  for (size_t i = 0; i < branches_.size(); ++i)
    for (int b = 0; b < run_.blocks; ++b)
      if (update[static_cast<size_t>(b)])
        velocities[i][b] =
            velocity(branches_[i], b, index[static_cast<size_t>(b)] - 1, report.decisions[i][b]);
  for (int b = 0; b < run_.blocks; ++b) {
    const int at = index[static_cast<size_t>(b)];
    const bool moves = update[static_cast<size_t>(b)];
    report.update.push_back(moves);
    report.timestep.push_back(at == 0 ? 999
                              : at > run_.steps
                                  ? 0
                                  : static_cast<int>(sampler_.table().timestep[static_cast<size_t>(at - 1)]));
    if (!moves) continue;
    const at::Tensor v = velocities[1][b] + run_.guidance * (velocities[0][b] - velocities[1][b]);
    // The published pipeline writes the new latent over the old one, which the solver still holds, so its
    // first correction starts from the wrong sample. The fault is kept, because this must be that pipeline.
    block(b).copy_(states_[static_cast<size_t>(b)]->step(block(b), v, at - 1, {}));
  }
  return report;
}

}  // namespace golden
