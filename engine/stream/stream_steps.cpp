// SPDX-License-Identifier: LGPL-2.1-or-later
// One step of one chunk: what the policy is asked, and computing or reusing.
#include "stream/device.h"
#include "stream/noise.h"
#include "stream/stopwatch.h"
#include "stream/stream.h"

namespace flowcache {

void Stream::ask(Task& task) {
  const StepTable& table = sampler_->table();
  LiveChunk& chunk = *task.chunk;
  if (prefix_) chunk.latent = prefix_->before_step(chunk.index, chunk.latent);
  StepInfo& info = task.question.info;
  info = {
      chunk.index,
      task.step,
      schedule_.steps(),
      table.timestep[task.step],
      table.sigma[task.step],
      table.sigma[task.step + 1],
      chunk.must_compute || (reuse_->across_chunks() && across_[task.step][weighs(0) ? 0 : 1].size() == 0)};
  info.must_compute |= writes_history(task.step);  // R1: these keys and values become history
  info.last_is_history = !clean_context_;
  const Tap taps = reuse_->taps();
  StepFeatures& features = task.question.features;
  const bool first_blocks = wants(taps, Tap::first_blocks);
  if (first_blocks || wants(taps, Tap::tokens) || wants(taps, Tap::modulation)) {
    task.embedded = embed(chunk, info.timestep);
    features.tokens = task.embedded.tokens;
    features.modulation = task.embedded.modulation;
  }
  if (first_blocks) {
    for (size_t branch = 0; branch < kv_.size(); ++branch)
      if (weighs(branch))
        task.begun[branch] = run_blocks(task, branch, task.embedded.tokens, 0, reuse_->first_blocks());
    features.first_blocks = task.begun[weighs(0) ? 0 : 1] - task.embedded.tokens;
  }
  if (wants(taps, Tap::latent)) features.latent = chunk.latent;
}

bool Stream::writes_history(int step) const {
  return !clean_context_ && step + 1 == schedule_.steps();
}

// Does the branch count in the guided velocity?
bool Stream::weighs(size_t branch) const {
  if (kv_.size() == 1 || tick_guidance_ == 1) return branch == 0;
  return tick_guidance_ != 0 || branch == 1;
}

Embedded Stream::embed(const LiveChunk& chunk, double timestep) const {
  if (prefix_) return prefix_->embed(chunk.index, chunk.latent, timestep, first_frame(chunk.index));
  return model_->transformer->embed(chunk.latent, std::span(&timestep, 1), first_frame(chunk.index));
}

int64_t Stream::first_frame(int64_t chunk) const {
  return (chunk + (prefix_ ? prefix_->whole_chunks() : 0)) * model_->package.latent_frames_per_chunk;
}

void Stream::run(Task& task) {
  const bool reuse = task.decision.action == Action::reuse;
  LiveChunk& chunk = *task.chunk;
  const ReuseKind kind = reuse_->kind();
  if (!reuse) {
    const Stopwatch watch;
    const at::Tensor velocity = compute_velocity(task);
    if (governor_) wait_for(model_->device);  // it steers by these seconds
    const double seconds = watch.seconds();
    network_seconds_ += seconds;
    ++network_steps_;
    if (governor_) keep_deadline(task, seconds);
    chunk.must_compute = false;
    if (kind == ReuseKind::velocity) {
      keep_residual(chunk, 0, velocity);
      repair(task);
    }
    const at::Tensor before = chunk.latent;
    integrate(task, velocity);
    if (kind == ReuseKind::output_delta) keep_residual(chunk, 0, velocity - before);
    if (kind == ReuseKind::latent_increment) keep_residual(chunk, 0, chunk.latent - before);
  } else if (kind == ReuseKind::latent_increment) {
    chunk.latent = chunk.latent + chunk.residuals[0].combined(reuse_->prediction(task.question.info));
  } else {
    integrate(task, reuse_velocity(task));
  }
  chunk.decisions.push_back(reuse ? 0 : 1);
  count(task.decision);
}

void Stream::keep_residual(LiveChunk& chunk, size_t branch, const at::Tensor& residual) const {
  chunk.residuals[branch].keep(residual, reuse_->residuals_kept(), lane_.get());
}

// What a step that reuses will want begins to come, if it is not here: while the step before it runs.
// Attention outputs come layer by layer.
void Stream::fetch(const Task& task) {
  if (!lane_ || task.decision.action != Action::reuse || task.decision.tail) return;
  auto& kept = reuse_->across_chunks() ? across_[task.step] : task.chunk->residuals;
  for (size_t branch = 0; branch < kv_.size(); ++branch)
    if (weighs(branch)) kept[branch].fetch();
}

// Before a task of the tick runs: what the next one wants, and what the chunk's own next step finds there if
// it reuses across chunks, which is known a tick ahead.
void Stream::fetch_ahead(size_t task) {
  if (!lane_) return;
  if (task + 1 < tasks_.size()) fetch(tasks_[task + 1]);
  const size_t next = tasks_[task].step + 1;
  if (next >= across_.size()) return;
  for (size_t branch = 0; branch < kv_.size(); ++branch)
    if (weighs(branch)) across_[next][branch].fetch();
}

// What the policy's predictions got wrong since the last computation.
void Stream::repair(const Task& task) {
  const std::vector<double> factors = reuse_->correction(task.question.info);
  if (!factors.empty()) task.chunk->latent = task.chunk->latent + task.chunk->residuals[0].combined(factors);
}

at::Tensor Stream::compute_velocity(Task& task) {
  const at::Tensor velocity = run_network(task);
  reuse_->computed(task.question, velocity);
  if (watch_) watch_(task.question, velocity);
  return velocity;
}

// The policy may have looked at no tokens, and reuse their residual all the same.
void Stream::need_embedded(Task& task) const {
  if (!task.embedded.tokens.defined()) task.embedded = embed(*task.chunk, task.question.info.timestep);
}

// The guided velocity of all that has to run: everything, or on a step that reuses attention the rest.
at::Tensor Stream::run_network(Task& task) {
  LiveChunk& chunk = *task.chunk;
  need_embedded(task);
  const int layers = model_->transformer->shape().layers;
  const bool tail = reuse_->kind() == ReuseKind::tail_residual;
  const int last = layers - (tail ? reuse_->last_blocks() : 0);
  const bool keeps_attention = reuse_->kind() == ReuseKind::attention_output;
  const bool reuse = task.decision.action == Action::reuse;
  const Branches branches = needed_branches(task.question.info);
  std::array<at::Tensor, max_branches> velocity;
  for (size_t branch = 0; branch < kv_.size(); ++branch) {
    if (!branches[branch]) {
      if (!reuse) chunk.attention[branch].clear();  // what it kept is now older than the chunk's last step
      continue;
    }
    const bool started = task.begun[branch].defined();
    const at::Tensor& begun = started ? task.begun[branch] : task.embedded.tokens;
    const int first = started ? reuse_->first_blocks() : 0;
    AttentionPass attention(chunk.attention[branch],
                            reuse ? reuse_->prediction(task.question.info) : std::vector<double>(),
                            reuse_->residuals_kept(), lane_.get());
    at::Tensor tokens = run_blocks(task, branch, begun, first, last, keeps_attention ? &attention : nullptr);
    if (tail || reuse_->kind() == ReuseKind::token_residual) {
      const at::Tensor residual = tokens - (tail ? begun : task.embedded.tokens);
      if (reuse_->across_chunks())
        across_[task.step][branch].keep(residual, 1, lane_.get());
      else
        keep_residual(chunk, branch, residual);
    }
    if (reuse_->keeps_tail()) chunk.tail[branch] = tokens - begun;
    if (last < layers) tokens = run_blocks(task, branch, tokens, last, layers);
    velocity[branch] = model_->transformer->head(task.embedded, tokens);
  }
  return guided(task.question.info, branches, velocity);
}

// Floating-point operations of one block on one branch: matrices and self-attention; the text's share is left
// out. The last block of a clean pass counts whole, though a family may leave most of it out.
Stream::BlockFlops Stream::block_flops(const LiveChunk& chunk, size_t branch) const {
  const TransformerShape& shape = model_->transformer->shape();
  if (shape.block_weights == 0) return {};
  const auto tokens = static_cast<double>(model_->tokens_per_chunk(size_));
  const double in_flight = static_cast<double>(chunk.index - live_.front()->index + 1) * tokens;
  const double attended = static_cast<double>(kv_[branch]->history_tokens()) + in_flight;
  const double mixing = 4.0 * static_cast<double>(shape.heads * shape.head_dim) * attended;
  return {.all = tokens * (2.0 * static_cast<double>(shape.block_weights) + mixing),
          .attention = tokens * (2.0 * static_cast<double>(shape.attention_weights) + mixing)};
}

// Blocks [first, last) on one branch; leaves the chunk's keys and values of those layers in its slots.
at::Tensor Stream::run_blocks(const Task& task, size_t branch, const at::Tensor& tokens, int first, int last,
                              AttentionPass* attention) {
  LiveChunk& chunk = *task.chunk;
  Embedded embedded = task.embedded;
  embedded.attention = attention;
  const at::Tensor result = model_->transformer->blocks(embedded, tokens, *chunk.conditions[branch],
                                                        kv_[branch]->view(chunk.index), first, last);
  const BlockFlops flops = block_flops(chunk, branch);
  chunk.flops +=
      (flops.all - (attention ? attention->share_recalled() : 0) * flops.attention) * (last - first);
  return result;
}

at::Tensor Stream::reuse_velocity(Task& task) {
  if (reuse_->kind() == ReuseKind::attention_output) return run_network(task);
  LiveChunk& chunk = *task.chunk;
  if (!task.decision.tail && !keeps_branches(reuse_->kind())) {
    const at::Tensor kept = chunk.residuals[0].combined(reuse_->prediction(task.question.info));
    return reuse_->kind() == ReuseKind::output_delta ? chunk.latent + kept : kept;
  }
  need_embedded(task);
  const int layers = model_->transformer->shape().layers, last = reuse_->last_blocks();
  std::array<at::Tensor, max_branches> velocity;
  for (size_t branch = 0; branch < kv_.size(); ++branch) {
    if (!weighs(branch)) continue;
    const at::Tensor residual = kept_tokens(task, branch);
    at::Tensor tokens = (task.begun[branch].defined() ? task.begun[branch] : task.embedded.tokens) + residual;
    if (last > 0) tokens = run_blocks(task, branch, tokens, layers - last, layers);
    velocity[branch] = model_->transformer->head(task.embedded, tokens);
  }
  return mixed(velocity);
}

// What a reused step adds to the tokens of a branch.
at::Tensor Stream::kept_tokens(const Task& task, size_t branch) {
  if (task.decision.tail) return task.chunk->tail[branch];
  if (reuse_->across_chunks()) return across_[task.step][branch].combined({1.0});
  return task.chunk->residuals[branch].combined(reuse_->prediction(task.question.info));
}

// A branch of weight zero is left out, exactly; one that the guidance policy can rebuild, approximately.
// Where its keys and values become history every branch runs, and where the policy keeps a residual of each,
// all that weigh.
Stream::Branches Stream::needed_branches(const StepInfo& info) {
  if (kv_.size() == 1) return {true, false};
  if (writes_history(info.step)) return {};
  if (!weighs(0) || !weighs(1) || keeps_branches(reuse_->kind())) return {weighs(0), weighs(1)};
  if (guidance_policy_ && !info.must_compute && guidance_policy_->skips_unconditional(info))
    return {true, false};
  return {};
}

// The guided velocity of what the branches computed or rebuilt.
at::Tensor Stream::mixed(const std::array<at::Tensor, max_branches>& velocity) const {
  if (!weighs(1)) return velocity[0];
  if (!weighs(0)) return velocity[1];
  return velocity[1] + tick_guidance_ * (velocity[0] - velocity[1]);
}

// The same of a computed step; tells the guidance policy, or asks it for the branch that was left out.
at::Tensor Stream::guided(const StepInfo& info, Branches ran, std::array<at::Tensor, max_branches> velocity) {
  const bool both = weighs(0) && weighs(1);
  if (both && !ran.unconditional)
    velocity[1] = guidance_policy_->unconditional(info, velocity[0]);
  else if (both && guidance_policy_)
    guidance_policy_->computed(info, velocity[0], velocity[1]);
  return mixed(velocity);
}

void Stream::integrate(Task& task, const at::Tensor& velocity) {
  LiveChunk& chunk = *task.chunk;
  if (task.step == estimate_step_) chunk.estimate = chunk.latent - task.question.info.sigma * velocity;
  chunk.latent = chunk.sampler->step(chunk.latent, velocity, task.step, [&] { return noise(chunk); });
}

at::Tensor Stream::noise(LiveChunk& chunk) {
  const int64_t draw = chunk.noise_draws++;
  if (noise_) return noise_(chunk.index, draw).to(model_->device);
  return draw_noise(seed_, chunk.index, draw, latent_shape(), model_->device);
}

std::vector<int64_t> Stream::latent_shape() const {
  const ModelPackage& package = model_->package;
  return {package.latent_channels, package.latent_frames_per_chunk, size_.latent_height, size_.latent_width};
}

}  // namespace flowcache
