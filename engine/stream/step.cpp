// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/step.h"

#include <utility>

#include "stream/noise.h"

namespace flowcache {
namespace {

Embedded embedded_chunk(const StreamParts& parts, const LiveChunk& chunk, const Written& from,
                        int64_t first) {
  const Transformer& network = *chunk.network;
  if (parts.initial_frames)
    return parts.initial_frames->embed(network, chunk.index, from.latent, from.timestep, first);
  return network.embed(from.latent, std::span(&from.timestep, 1), first);
}

// Floating-point operations of one block for one branch.
struct BlockFlops {
  double all = 0, attention = 0;  // attention: what is saved when its output is recalled
};

// Counts matrices and self-attention, but not attention over the text. In a clean pass the last block counts
// in full, though a family may leave out most of it. chunks: number of chunks in flight, from the oldest to
// this one.
BlockFlops block_flops(const StreamParts& parts, size_t branch, int64_t chunks) {
  const TransformerShape& shape = parts.model->transformer->shape();
  if (shape.block_weights == 0) return {};
  const auto tokens = static_cast<double>(parts.model->tokens_per_chunk(parts.size));
  const double in_flight = static_cast<double>(chunks) * tokens;
  const double attended = static_cast<double>(parts.kv[branch]->history_tokens()) + in_flight;
  const double mixing = 4.0 * static_cast<double>(shape.heads * shape.head_dim) * attended;
  return {.all = tokens * (2.0 * static_cast<double>(shape.block_weights) + mixing),
          .attention = tokens * (2.0 * static_cast<double>(shape.attention_weights) + mixing)};
}

}  // namespace

void StepRunner::ask(Step& step) const {
  const Guidance& guidance = parts_.guidance;
  LiveChunk& chunk = *step.chunk;
  const StepTable& table = parts_.sampler_of(chunk.index).table();
  if (parts_.initial_frames) chunk.latent = parts_.initial_frames->before_step(chunk.index, chunk.latent);
  StepInfo& info = step.question.info;
  const bool nothing_across = parts_.policy->across_chunks() &&
                              (parts_.across[step.index][guidance.first_contributing()].size() == 0 ||
                               parts_.across_conditions[step.index] != chunk.conditions);  // R7
  info = {chunk.index,
          step.index - chunk.first_step,
          table.steps() - chunk.first_step,
          table.timestep[step.index],
          table.sigma[step.index],
          table.sigma[step.index + 1],
          chunk.must_compute || nothing_across};
  info.must_compute |=
      parts_.writes_history(chunk.index, step.index);  // R1: these keys and values become history
  info.last_is_history = !parts_.clean_context;
  info.left_out = chunk.first_step;
  const Tap taps = parts_.policy->taps();
  StepFeatures& features = step.question.features;
  const bool first_blocks = wants(taps, Tap::first_blocks);
  if (first_blocks || wants(taps, Tap::tokens) || wants(taps, Tap::modulation)) {
    embed(step);
    features.tokens = step.embedded.tokens;
    features.modulation = step.embedded.modulation;
  }
  if (first_blocks) {
    for (size_t branch = 0; branch < guidance.branches(); ++branch)
      if (guidance.contributes(branch))
        step.first_tokens[branch] =
            run_blocks(step, branch, step.embedded.tokens, 0, parts_.policy->first_blocks());
    features.first_blocks = step.first_tokens[guidance.first_contributing()] - step.embedded.tokens;
  }
  if (wants(taps, Tap::latent)) features.latent = chunk.latent;
}

at::Tensor StepRunner::compute(Step& step) const {
  const at::Tensor velocity = run_network(step);
  step.chunk->written = {step.chunk->latent, step.question.info.timestep};
  parts_.policy->computed(step.question, velocity);
  if (hook_ && *hook_) (*hook_)(step.question, velocity);
  return velocity;
}

void StepRunner::advance(Step& step, const at::Tensor& velocity) const {
  LiveChunk& chunk = *step.chunk;
  chunk.must_compute = false;
  if (parts_.policy->across_chunks()) parts_.across_conditions[step.index] = chunk.conditions;
  parts_.residual->capture_velocity(*this, step, velocity);
  const at::Tensor before = chunk.latent;
  integrate(step, velocity);
  parts_.residual->capture_latent(*this, step, before);
}

void StepRunner::reuse(Step& step) const {
  (step.decision.tail ? parts_.tail : parts_.residual)->apply(*this, step);
}

void StepRunner::write_keys(LiveChunk& chunk, const Written& from, int64_t first_frame) const {
  Step clean;
  clean.chunk = &chunk;
  clean.embedded = embedded_chunk(parts_, chunk, from, first_frame);
  clean.embedded.keys_only = true;
  const int layers = parts_.model->transformer->shape().layers;
  PerBranch<std::unique_ptr<Transformer::Begun>> begun;
  for (size_t branch = 0; branch < parts_.guidance.branches(); ++branch)
    begun[branch] = begin_blocks(clean, branch, clean.embedded.tokens, 0, layers, nullptr);
  for (size_t branch = 0; branch < parts_.guidance.branches(); ++branch)
    run_blocks(clean, branch, clean.embedded.tokens, 0, layers);
  chunk.written = from;
}

// Called while the step before this one runs. Attention outputs are fetched layer by layer instead.
void StepRunner::fetch(const Step& step) const {
  if (!parts_.lane || !step.reuses() || step.decision.tail) return;
  auto& kept = parts_.policy->across_chunks() ? parts_.across[step.index] : step.chunk->residuals;
  for (size_t branch = 0; branch < parts_.guidance.branches(); ++branch)
    if (parts_.guidance.contributes(branch)) kept[branch].fetch();
}

at::Tensor StepRunner::run_network(Step& step) const {
  embed(step);
  const Transformer& network = *step.chunk->network;
  Residual& residual = *parts_.residual;
  const int layers = network.shape().layers, last = layers - residual.last_blocks();
  const Branches branches = parts_.guidance.needed(
      step.question.info, parts_.writes_history(step.chunk->index, step.index), residual.of_each_branch());
  PerBranch<std::optional<AttentionPass>> attention;
  PerBranch<std::unique_ptr<Transformer::Begun>> begun;  // on other devices
  const auto first_of = [&](size_t branch) {
    return step.first_tokens[branch].defined() ? parts_.policy->first_blocks() : 0;
  };
  for (size_t branch = 0; branch < parts_.guidance.branches(); ++branch) {
    if (!branches[branch]) continue;
    if (auto pass = residual.attention(*this, step, branch)) attention[branch].emplace(*pass);
    begun[branch] = begin_blocks(step, branch, begin_tokens(step, branch), first_of(branch), last,
                                 attention[branch] ? &*attention[branch] : nullptr);
  }
  PerBranch<at::Tensor> velocity;
  for (size_t branch = 0; branch < parts_.guidance.branches(); ++branch) {
    if (!branches[branch]) {
      if (!step.reuses()) residual.branch_left_out(step, branch);
      continue;
    }
    at::Tensor tokens = run_blocks(step, branch, begin_tokens(step, branch), first_of(branch), last,
                                   attention[branch] ? &*attention[branch] : nullptr);
    begun[branch].reset();
    residual.capture_tokens(*this, step, branch, tokens);
    if (parts_.tail) parts_.tail->capture_tokens(*this, step, branch, tokens);
    if (last < layers) tokens = run_blocks(step, branch, tokens, last, layers);
    velocity[branch] = network.head(step.embedded, tokens);
  }
  return parts_.guidance.guided(step.question.info, branches, velocity);
}

void StepRunner::embed(Step& step) const {
  if (step.embedded.tokens.defined()) return;
  step.embedded = embedded_chunk(parts_, *step.chunk, {step.chunk->latent, step.question.info.timestep},
                                 parts_.first_frame(step.chunk->index));
}

const at::Tensor& StepRunner::begin_tokens(const Step& step, size_t branch) const {
  return step.first_tokens[branch].defined() ? step.first_tokens[branch] : step.embedded.tokens;
}

std::unique_ptr<Transformer::Begun> StepRunner::begin_blocks(const Step& step, size_t branch,
                                                             const at::Tensor& tokens, int first, int last,
                                                             AttentionPass* attention) const {
  if (!parts_.model->ranks) return nullptr;
  Embedded embedded = step.embedded;
  embedded.attention = attention;
  return parts_.model->transformer->begin_blocks(embedded, tokens, *step.chunk->conditions[branch],
                                                 parts_.kv[branch]->view(step.chunk->index), first, last);
}

at::Tensor StepRunner::run_blocks(const Step& step, size_t branch, const at::Tensor& tokens, int first,
                                  int last, AttentionPass* attention) const {
  if (std::exchange(parts_.keys_get_lost, false)) throw RanksChanged();
  LiveChunk& chunk = *step.chunk;
  Embedded embedded = step.embedded;
  embedded.attention = attention;
  KvView& kv = parts_.kv[branch]->view(chunk.index);
  const auto& condition = chunk.conditions[branch];
  const at::Tensor result =
      parts_.graphs
          ? parts_.graphs->blocks(chunk.index, chunk.network, embedded, tokens, condition, kv, first, last)
          : chunk.network->blocks(embedded, tokens, *condition, kv, first, last);
  const BlockFlops flops = block_flops(parts_, branch, chunk.index - oldest_ + 1);
  chunk.flops +=
      (flops.all - (attention ? attention->share_recalled() : 0) * flops.attention) * (last - first);
  return result;
}

void StepRunner::integrate(Step& step, const at::Tensor& velocity) const {
  LiveChunk& chunk = *step.chunk;
  const int compared = parts_.kv.front()->policy().needs_change(parts_.schedule.steps_of(chunk.index));
  if (compared >= 0 && step.index >= compared && !chunk.estimate.defined())
    chunk.estimate = chunk.latent - step.question.info.sigma * velocity;
  chunk.latent = chunk.sampler->step(chunk.latent, velocity, step.index, [&] { return noise(chunk); });
}

at::Tensor StepRunner::noise(LiveChunk& chunk) const {
  const int64_t draw = chunk.noise_draws++;
  if (parts_.noise) return parts_.noise(chunk.index, draw).to(parts_.model->device);
  return draw_noise(parts_.seed, chunk.index, draw, parts_.latent_shape(), parts_.model->device);
}

}  // namespace flowcache
