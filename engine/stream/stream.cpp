// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/stream.h"

#include <c10/core/InferenceMode.h>

#include <chrono>

#include "error.h"
#include "stream/device.h"
#include "stream/noise.h"
#include "stream/stream_setup.h"

namespace flowcache {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The rest is for whatever works beside the engine: an encoder, a viewer.
constexpr double share_of_playing_time = 0.8;

}  // namespace

Stream::Stream(std::shared_ptr<const LoadedModel> model, const StreamConfig& config)
    : model_(std::move(model)), seed_(config.seed) {
  const c10::InferenceMode inference;
  use_threads(model_->threads);
  ResolvedConfig resolved = resolve(*model_, config);
  sampler_ = std::move(resolved.sampler);
  schedule_ = resolved.schedule;
  reuse_ = resolved.reuse.make();
  for (int branch = 0; branch < resolved.branches; ++branch)
    kv_.push_back(
        std::make_unique<KvStore>(resolved.kv_geometry, resolved.budget_tokens, resolved.kv.make()));
  prompts_ = std::make_unique<Prompts>(*model_->text, config.prompt);
  if (resolved.branches == max_branches) {
    check_prompt(config.negative_prompt);
    null_condition_ = model_->transformer->condition(model_->text->encode(config.negative_prompt).embedding);
  }
  decoder_state_ = model_->decoder->open();
  threshold_ = resolved.threshold;
  guidance_ = resolved.guidance;
  stats_.steps = schedule_.steps();
  stats_.lag = schedule_.lag();
  stats_.chunks_in_flight = schedule_.chunks_in_flight();
  if (const auto range = reuse_->governed(schedule_.steps()); range.most > 0) {
    governor_ = std::make_unique<Governor>(range.fewest, range.most);
    reuse_->allow(governor_->allowed());
    deadline(0);
  }
  for (const auto& kv : kv_) {
    stats_.kv_budget += kv->budget_bytes();
    stats_.kv_allocated += kv->allocated_bytes();
  }
}

std::shared_ptr<const Chunk> Stream::next() {
  const c10::InferenceMode inference;
  use_threads(model_->threads);
  const auto start = std::chrono::steady_clock::now();
  if (!ended_.empty()) throw Error(FC_ENDED, ended_);
  while (true) {
    if (!tick_open_) begin_tick();
    while (next_task_ < tasks_.size()) {
      check_cancelled();
      run(tasks_[next_task_]);
      ++next_task_;
    }
    tick_open_ = false;
    LiveChunk& oldest = *live_.front();
    if (static_cast<int>(oldest.decisions.size()) < schedule_.steps()) continue;
    const std::shared_ptr<Chunk> finished = finish(oldest);
    finished->seconds = seconds_since(start);
    govern(finished->seconds);
    const std::lock_guard lock(stats_mutex_);
    stats_.last_chunk_seconds = finished->seconds;
    if (governor_) stats_.governor_level = governor_->level();
    return finished;
  }
}

void Stream::begin_tick() {
  if (guidance_changed_.exchange(false))
    for (const auto& chunk : live_) {  // kept velocities hold the old guidance
      chunk->must_compute = true;
      chunk->residuals = {};
      reuse_->residuals_dropped(chunk->index);
    }
  const auto due = schedule_.tick(tick_++);
  tasks_.clear();
  next_task_ = 0;
  for (const ScheduledStep& step : due) {
    if (step.step == 0) admit(step.chunk);
    for (const auto& chunk : live_)
      if (chunk->index == step.chunk) tasks_.push_back({chunk.get(), step.step, {}, {}, {}});
  }
  std::vector<ChunkStep> questions;
  questions.reserve(tasks_.size());
  for (Task& task : tasks_) {
    ask(task);
    questions.push_back(task.question);
  }
  const std::vector<Decision> decisions = reuse_->decide(questions, threshold_);
  for (size_t i = 0; i < tasks_.size(); ++i) {
    tasks_[i].decision = decisions.at(i);
    if (questions[i].info.must_compute) tasks_[i].decision = {Action::compute, true, 0, 0};
  }
  tick_open_ = true;
}

void Stream::admit(int64_t index) {
  auto chunk = std::make_unique<LiveChunk>();
  chunk->index = index;
  chunk->sampler = sampler_->begin_chunk();
  chunk->latent = noise(*chunk);
  const ChunkPrompt prompt = prompts_->take(index);
  if (prompt.changed || !condition_) condition_ = model_->transformer->condition(prompt.features);
  {
    const std::lock_guard lock(negative_mutex_);
    if (negative_.defined()) null_condition_ = model_->transformer->condition(negative_);
    negative_ = at::Tensor();
  }
  chunk->conditions = {condition_, null_condition_};
  chunk->prompt_ticket = prompt.ticket;
  for (const auto& kv : kv_) kv->admit(index, first_frame(index));
  live_.push_back(std::move(chunk));
}

void Stream::ask(Task& task) {
  const StepTable& table = sampler_->table();
  const LiveChunk& chunk = *task.chunk;
  StepInfo& info = task.question.info;
  info = {chunk.index,
          task.step,
          schedule_.steps(),
          table.timestep[task.step],
          table.sigma[task.step],
          table.sigma[task.step + 1],
          chunk.must_compute};
  const bool writes_history = !model_->package.clean_context && task.step + 1 == schedule_.steps();
  info.must_compute |= writes_history;  // R1: these keys and values become history
  const Tap taps = reuse_->taps();
  StepFeatures& features = task.question.features;
  if (wants(taps, Tap::tokens) || wants(taps, Tap::modulation)) {
    task.embedded = embed(chunk, info.timestep);
    features.tokens = task.embedded.tokens;
    features.modulation = task.embedded.modulation;
  }
  if (wants(taps, Tap::latent)) features.latent = chunk.latent;
}

Embedded Stream::embed(const LiveChunk& chunk, double timestep) const {
  return model_->transformer->embed(chunk.latent, std::span(&timestep, 1), first_frame(chunk.index));
}

int64_t Stream::first_frame(int64_t chunk) const {
  return chunk * model_->package.latent_frames_per_chunk;
}

void Stream::run(Task& task) {
  const bool reuse = task.decision.action == Action::reuse;
  LiveChunk& chunk = *task.chunk;
  const ReuseKind kind = reuse_->kind();
  if (!reuse) {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor velocity = compute_velocity(task);
    network_seconds_ += seconds_since(start);
    ++network_steps_;
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
    chunk.latent = chunk.latent + chunk.combined(0, reuse_->prediction(task.question.info));
  } else {
    integrate(task, reuse_velocity(task));
  }
  chunk.decisions.push_back(reuse ? 0 : 1);
  count(task.decision);
}

void Stream::keep_residual(LiveChunk& chunk, size_t branch, const at::Tensor& residual) const {
  chunk.keep_residual(branch, residual, reuse_->residuals_kept());
}

// What the policy's predictions got wrong since the last computation.
void Stream::repair(const Task& task) {
  if (!sampler_->steps_linearly()) return;
  const std::vector<double> factors = reuse_->correction(task.question.info);
  if (!factors.empty()) task.chunk->latent = task.chunk->latent + task.chunk->combined(0, factors);
}

at::Tensor Stream::compute_velocity(Task& task) {
  LiveChunk& chunk = *task.chunk;
  if (!task.embedded.tokens.defined()) task.embedded = embed(chunk, task.question.info.timestep);
  std::array<at::Tensor, max_branches> velocity;
  for (size_t branch = 0; branch < kv_.size(); ++branch) {
    const at::Tensor tokens = run_blocks(chunk, branch, task.embedded);
    if (reuse_->kind() == ReuseKind::token_residual)
      keep_residual(chunk, branch, tokens - task.embedded.tokens);
    velocity[branch] = model_->transformer->head(task.embedded, tokens);
  }
  const at::Tensor result = guided(velocity);
  reuse_->computed(task.question, result);
  return result;
}

// All blocks on one branch; leaves the chunk's keys and values in its slots.
at::Tensor Stream::run_blocks(const LiveChunk& chunk, size_t branch, const Embedded& embedded) {
  const Transformer& network = *model_->transformer;
  return network.blocks(embedded, embedded.tokens, *chunk.conditions[branch], kv_[branch]->view(chunk.index),
                        0, network.shape().layers);
}

at::Tensor Stream::reuse_velocity(const Task& task) const {
  const LiveChunk& chunk = *task.chunk;
  const std::vector<double> factors = reuse_->prediction(task.question.info);
  if (reuse_->kind() == ReuseKind::velocity) return chunk.combined(0, factors);
  if (reuse_->kind() == ReuseKind::output_delta) return chunk.latent + chunk.combined(0, factors);
  std::array<at::Tensor, max_branches> velocity;
  for (size_t branch = 0; branch < kv_.size(); ++branch)
    velocity[branch] =
        model_->transformer->head(task.embedded, task.embedded.tokens + chunk.combined(branch, factors));
  return guided(velocity);
}

at::Tensor Stream::guided(const std::array<at::Tensor, max_branches>& velocity) const {
  if (kv_.size() == 1) return velocity[0];
  return velocity[1] + guidance_.load() * (velocity[0] - velocity[1]);
}

void Stream::integrate(Task& task, const at::Tensor& velocity) {
  LiveChunk& chunk = *task.chunk;
  chunk.latent = chunk.sampler->step(chunk.latent, velocity, task.step, [&] { return noise(chunk); });
}

at::Tensor Stream::noise(LiveChunk& chunk) {
  const int64_t draw = chunk.noise_draws++;
  const ModelPackage& package = model_->package;
  if (noise_) return noise_(chunk.index, draw).to(model_->device);
  return draw_noise(
      seed_, chunk.index, draw,
      {package.latent_channels, package.latent_frames_per_chunk, package.latent_height, package.latent_width},
      model_->device);
}

std::shared_ptr<Chunk> Stream::finish(LiveChunk& chunk) {
  if (!chunk.latent.isfinite().all().item<bool>())
    throw Error(FC_ERROR_MODEL, "chunk " + std::to_string(chunk.index) +
                                    " contains values that are not finite: the weights are damaged or do not "
                                    "fit this precision; try precision=fp32");
  if (model_->package.clean_context) {  // for the keys and values only: no head
    const Embedded clean = embed(chunk, 0.0);
    for (size_t branch = 0; branch < kv_.size(); ++branch) run_blocks(chunk, branch, clean);
  }
  const bool dropped = move_to_history(chunk.index);
  reuse_->end_chunk(chunk.index);

  auto result = std::make_shared<Chunk>();
  const auto start = std::chrono::steady_clock::now();
  result->frames = model_->decoder->decode(chunk.latent.transpose(0, 1).contiguous(), *decoder_state_);
  const double decode_seconds = seconds_since(start);
  result->latent = chunk.latent;
  result->index = chunk.index;
  result->seed = seed_;
  result->prompt_ticket = chunk.prompt_ticket;
  result->decisions = std::move(chunk.decisions);
  result->threshold = threshold_;
  live_.pop_front();  // `chunk` ends here
  if (dropped)
    for (const auto& other : live_) {
      reuse_->context_changed(other->index);
      other->must_compute |= reuse_->recompute_on_context_change();
    }

  const std::lock_guard lock(stats_mutex_);
  ++stats_.chunks;
  stats_.last_decode_seconds = decode_seconds;
  stats_.kv_bytes = 0;
  for (const auto& kv : kv_) stats_.kv_bytes += kv->history_bytes();
  stats_.reuse_bytes = reuse_->state_bytes();
  for (const auto& other : live_) stats_.reuse_bytes += other->residual_bytes();
  result->kv_bytes = stats_.kv_bytes;
  result->kv_budget = stats_.kv_budget;
  return result;
}

bool Stream::move_to_history(int64_t chunk) {
  bool dropped = false;
  try {
    for (const auto& kv : kv_) dropped |= kv->finish(chunk);
  } catch (const Error& error) {
    if (error.status() != FC_ENDED) throw;
    ended_ = error.what();  // this chunk is whole; the next call says why there is no other
  }
  return dropped;
}

void Stream::reset(uint64_t seed) {
  seed_ = seed;
  ended_.clear();
  tick_open_ = false;
  tick_ = 0;
  tasks_.clear();
  next_task_ = 0;
  live_.clear();
  reuse_->reset();
  network_seconds_ = network_steps_ = 0;
  if (governor_) {
    governor_->reset();
    reuse_->allow(governor_->allowed());
  }
  for (const auto& kv : kv_) kv->reset();
  prompts_->restart();
  condition_ = nullptr;
  decoder_state_ = model_->decoder->open();
  cancelled_ = false;
  const std::lock_guard lock(stats_mutex_);
  stats_.chunks = stats_.steps_computed = stats_.steps_reused = stats_.forced_computes = 0;
  stats_.kv_bytes = stats_.reuse_bytes = 0;
  stats_.last_chunk_seconds = stats_.last_decode_seconds = 0;
}

void Stream::tune(double threshold, double guidance) {
  if (threshold >= 0) threshold_ = check_threshold(threshold);
  if (guidance < 0) return;
  check_guidance(guidance);
  if (kv_.size() == 1 && guidance != 1)
    throw Error(FC_ERROR_ARGUMENT,
                "guidance_scale=" + std::to_string(guidance) +
                    " needs a second branch, but this stream was opened with 1: open it with another value");
  guidance_ = guidance;
  guidance_changed_ = true;
}

void Stream::deadline(double seconds) {
  if (!governor_)
    throw Error(FC_ERROR_ARGUMENT,
                "a deadline needs a reuse policy that it can steer: open the stream with cache=auto");
  if (!(seconds >= 0 && seconds <= 3600))
    throw Error(FC_ERROR_ARGUMENT, "deadline=" + std::to_string(seconds) +
                                       " s is outside 0..3600; 0 takes the model's own pace");
  const ModelPackage& package = model_->package;
  const double plays = static_cast<double>(package.frames_per_chunk * package.fps_d) / package.fps_n;
  deadline_ = seconds > 0 ? seconds : share_of_playing_time * plays;
}

void Stream::negative_prompt(const std::string& text) {
  if (kv_.size() == 1)
    throw Error(FC_ERROR_ARGUMENT,
                "a negative prompt needs guidance: open the stream with a guidance_scale other than 1");
  check_prompt(text);
  const c10::InferenceMode inference;
  const at::Tensor features = model_->text->encode(text).embedding;
  const std::lock_guard lock(negative_mutex_);
  negative_ = features;
}

// After each chunk: what it took, and what the next ones may.
void Stream::govern(double chunk_seconds) {
  if (governor_ && network_steps_ > 0) {
    governor_->deadline(deadline_);
    governor_->observe(network_seconds_ / network_steps_, chunk_seconds - network_seconds_);
    reuse_->allow(governor_->allowed());
  }
  network_seconds_ = network_steps_ = 0;
}

StreamStats Stream::stats() const {
  const std::lock_guard lock(stats_mutex_);
  StreamStats copy = stats_;
  copy.threshold = threshold_;
  copy.guidance = guidance_;
  copy.deadline_seconds = deadline_;
  return copy;
}

void Stream::check_cancelled() {
  if (cancelled_.exchange(false)) throw Error(FC_CANCELLED, "the stream was cancelled; call again to go on");
}

void Stream::count(const Decision& decision) {
  const std::lock_guard lock(stats_mutex_);
  if (decision.action == Action::reuse) {
    ++stats_.steps_reused;
  } else {
    ++stats_.steps_computed;
    stats_.forced_computes += decision.forced;
  }
}

}  // namespace flowcache
