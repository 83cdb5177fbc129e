// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/stream.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "error.h"
#include "process_end.h"
#include "stream/device.h"
#include "stream/stopwatch.h"
#include "stream/stream_setup.h"

namespace flowcache {

namespace {

// The rest is for whatever works beside the engine: an encoder, a viewer.
constexpr double share_of_playing_time = 0.8;

}  // namespace

Stream::Stream(std::shared_ptr<const LoadedModel> model, const StreamConfig& config)
    : model_(std::move(model)), seed_(config.seed) {
  const c10::InferenceMode inference;
  const ArithmeticThreads threads(model_->threads);
  ResolvedConfig resolved = resolve(*model_, config);
  size_ = resolved.size;
  sampler_ = std::move(resolved.sampler);
  schedule_ = resolved.schedule;
  reuse_ = std::move(resolved.policy);
  guidance_policy_ = std::move(resolved.guidance_policy);
  if (resolved.offloads) lane_ = make_copy_lane(model_->device);
  across_.resize(reuse_->across_chunks() ? schedule_.steps() : 0);
  for (int branch = 0; branch < resolved.branches; ++branch)
    kv_.push_back(
        std::make_unique<KvStore>(resolved.kv_geometry, resolved.budget_tokens, resolved.kv.make()));
  clean_context_ = config.clean_context < 0 ? model_->package.clean_context : config.clean_context == 1;
  forgets_on_cut_ = model_->package.cache.value("on_cut", "keep") == "forget";
  estimate_step_ = kv_.front()->policy().needs_change(schedule_.steps());
  prompts_ = std::make_unique<Prompts>(*model_->text, config.prompt);
  if (resolved.branches == max_branches) {
    check_prompt(config.negative_prompt);
    null_condition_ = model_->transformer->condition(model_->text->encode(config.negative_prompt).embedding);
  }
  decoder_state_ = model_->decoder->open();
  seam_fade_ = SeamFade(model_->package.seam_fade_frames);
  if (config.prefix.defined())
    prefix_ = Prefix::encode(*model_, size_, config.prefix, seed_);
  else if (config.prefix_latents.defined())
    prefix_ = std::make_unique<Prefix>(*model_, size_, config.prefix_latents, seed_);
  default_threshold_ = resolved.default_threshold;
  default_guidance_ = resolved.default_guidance;
  threshold_ = resolved.threshold;
  guidance_ = resolved.guidance;
  stats_.steps = schedule_.steps();
  stats_.lag = schedule_.lag();
  stats_.chunks_in_flight = schedule_.chunks_in_flight();
  if (const auto range = reuse_->governed(schedule_.steps()); range.most > 0) {
    governor_ = std::make_unique<Governor>(range.fewest, range.most);
    follow_governor();
    deadline(0);
  }
  if (resolved.steers_threshold) {
    threshold_governor_ = std::make_unique<ThresholdGovernor>(threshold_, schedule_.steps());
    deadline(0);
  }
  for (const auto& kv : kv_) {
    stats_.kv_budget += kv->budget_bytes();
    stats_.kv_allocated += kv->allocated_bytes();
  }
}

std::shared_ptr<const Chunk> Stream::next() {
  const c10::InferenceMode inference;
  const ArithmeticThreads threads(model_->threads);
  if (!ended_.empty()) throw Error(FC_ENDED, ended_);
  if (governor_ && !rehearsed_) rehearse();
  call_watch_ = Stopwatch();
  while (true) {
    if (!tick_open_) begin_tick();
    while (next_task_ < tasks_.size()) {
      check_cancelled();
      fetch_ahead(next_task_);
      run(tasks_[next_task_]);
      ++next_task_;
    }
    tick_open_ = false;
    LiveChunk& oldest = *live_.front();
    if (static_cast<int>(oldest.decisions.size()) < schedule_.steps()) continue;
    const Stopwatch chunk_watch = oldest.watch;
    const std::shared_ptr<Chunk> finished = finish(oldest);
    finished->seconds = call_watch_.seconds();
    govern(*finished, std::min(finished->seconds, chunk_watch.seconds()));
    const std::lock_guard lock(stats_mutex_);
    stats_.last_chunk_seconds = finished->seconds;
    return finished;
  }
}

void Stream::begin_tick() {
  if (guidance_changed_.exchange(false)) {
    across_.assign(across_.size(), {});  // of the branches that weighed until now
    for (const auto& chunk : live_) {    // kept velocities hold the old guidance
      chunk->must_compute = true;
      chunk->drop_residuals();
      reuse_->residuals_dropped(chunk->index);
    }
  }
  tick_guidance_ = guidance_;
  const auto due = schedule_.tick(tick_++);
  tasks_.clear();
  next_task_ = 0;
  for (const ScheduledStep& step : due) {
    if (step.step == 0) admit(step.chunk);
    for (const auto& chunk : live_)
      if (chunk->index == step.chunk) tasks_.push_back({chunk.get(), step.step, {}, {}, {}, {}});
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
  if (!tasks_.empty()) fetch(tasks_.front());
  tick_open_ = true;
}

void Stream::admit(int64_t index) {
  auto chunk = std::make_unique<LiveChunk>();
  chunk->index = index;
  // A chunk that others in flight attend must have written its keys and values.
  chunk->must_compute = !reuse_->across_chunks() || schedule_.chunks_in_flight() > 1;
  chunk->sampler = sampler_->begin_chunk();
  chunk->latent = noise(*chunk);
  const ChunkPrompt prompt = prompts_->take(index);
  if (prompt.changed || !condition_) condition_ = model_->transformer->condition(prompt.features);
  chunk->is_cut = prompt.cut;
  if (prompt.cut && forgets_on_cut_) {
    bool dropped = false;
    for (const auto& kv : kv_) dropped |= kv->forget_history();
    if (dropped) context_changed();
  }
  if (prompt.changed && reuse_->across_chunks()) {  // R7: computed for another prompt
    across_.assign(across_.size(), {});
    reuse_->residuals_dropped(index);
  }
  {
    const std::lock_guard lock(negative_mutex_);
    if (negative_.defined()) null_condition_ = model_->transformer->condition(negative_);
    negative_ = at::Tensor();
  }
  chunk->conditions = {condition_, null_condition_};
  chunk->prompt_ticket = prompt.ticket;
  if (prefix_ && index == 0)
    prefix_->fill_history(kv_, std::span(chunk->conditions).first(kv_.size()), *decoder_state_);
  for (const auto& kv : kv_) kv->admit(index, first_frame(index));
  chunk->watch = Stopwatch();
  live_.push_back(std::move(chunk));
}

std::shared_ptr<Chunk> Stream::finish(LiveChunk& chunk) {
  if (!chunk.latent.isfinite().all().item<bool>())
    throw Error(FC_ERROR_MODEL, "chunk " + std::to_string(chunk.index) +
                                    " contains values that are not finite: the weights are damaged or do not "
                                    "fit this precision; try precision=fp32");
  if (clean_context_) {  // for the keys and values only: no head
    Task clean;
    clean.chunk = &chunk;
    clean.embedded = embed(chunk, 0.0);
    clean.embedded.keys_only = true;
    for (size_t branch = 0; branch < kv_.size(); ++branch)
      run_blocks(clean, branch, clean.embedded.tokens, 0, model_->transformer->shape().layers);
  }
  const uint64_t held = reuse_bytes();  // the most of this chunk's time: it goes now
  const bool dropped = move_to_history(chunk);
  reuse_->end_chunk(chunk.index);
  if (guidance_policy_) guidance_policy_->end_chunk(chunk.index);

  auto result = std::make_shared<Chunk>();
  if (prefix_) chunk.latent = prefix_->finished(chunk.index, chunk.latent);
  const Stopwatch watch;
  result->frames = model_->decoder->decode(chunk.latent.transpose(0, 1).contiguous(), *decoder_state_);
  if (prefix_) result->frames = prefix_->shown(chunk.index, result->frames);
  seam_fade_.apply(result->frames, chunk.is_cut);
  wait_for(model_->device);  // the governor steers by these seconds
  const double decode_seconds = watch.seconds();
  result->latent = chunk.latent;
  result->index = chunk.index;
  result->seed = seed_;
  result->prompt_ticket = chunk.prompt_ticket;
  result->decisions = std::move(chunk.decisions);
  result->threshold = threshold_;
  result->flops = chunk.flops;
  const auto computed = std::count(result->decisions.begin(), result->decisions.end(), 1);
  if (governor_) result->governor_level = std::max(0, governor_->ceiling() - static_cast<int>(computed));
  live_.pop_front();  // `chunk` ends here
  if (dropped) context_changed();

  const std::lock_guard lock(stats_mutex_);
  ++stats_.chunks;
  stats_.last_decode_seconds = decode_seconds;
  stats_.kv_bytes = 0;
  for (const auto& kv : kv_) stats_.kv_bytes += kv->history_bytes();
  stats_.reuse_bytes = held;
  result->kv_bytes = stats_.kv_bytes;
  result->kv_budget = stats_.kv_budget;
  return result;
}

// What policies and chunks in flight hold for steps to come.
uint64_t Stream::reuse_bytes() const {
  uint64_t bytes = reuse_->state_bytes() + (guidance_policy_ ? guidance_policy_->state_bytes() : 0);
  for (const auto& chunk : live_) bytes += chunk->residual_bytes();
  for (const auto& step : across_)
    for (const Residuals& one : step) bytes += one.bytes();
  return bytes;
}

// Mean squared difference between the estimate and the final latent, per token [tokens].
at::Tensor Stream::token_change(const LiveChunk& chunk) const {
  if (!chunk.estimate.defined()) return {};
  const TransformerShape& shape = model_->transformer->shape();
  const at::Tensor error = (chunk.latent - chunk.estimate).square().mean(0);  // [F, h, w]
  return error.unfold(1, shape.patch_height, shape.patch_height)
      .unfold(2, shape.patch_width, shape.patch_width)
      .mean({3, 4})
      .flatten();
}

// R5: what the chunks in flight attend is no longer what they were computed with.
void Stream::context_changed() {
  for (const auto& other : live_) {
    reuse_->context_changed(other->index);
    other->must_compute |= reuse_->recompute_on_context_change();
    if (reuse_->kind() != ReuseKind::attention_output) continue;
    other->drop_residuals();  // those of before attended something else: no line leads from them to the next
    reuse_->residuals_dropped(other->index);
  }
}

bool Stream::move_to_history(const LiveChunk& chunk) {
  bool dropped = false;
  try {
    const at::Tensor change = token_change(chunk);
    for (const auto& kv : kv_) dropped |= kv->finish(chunk.index, change);
  } catch (const Error& error) {
    if (error.status() != FC_ENDED) throw;
    ended_ = error.what();  // this chunk is whole; the next call says why there is no other
  }
  return dropped;
}

void Stream::reset(uint64_t seed) {
  const c10::InferenceMode inference;
  std::unique_ptr<DecoderState> decoder_state =
      model_->decoder->open();  // may fail, and then nothing has changed
  seed_ = seed;
  if (prefix_) prefix_->reseed(seed);
  ended_.clear();
  tick_open_ = false;
  tick_ = 0;
  tasks_.clear();
  next_task_ = 0;
  live_.clear();
  reuse_->reset();
  if (guidance_policy_) guidance_policy_->reset();
  across_.assign(across_.size(), {});
  network_seconds_ = network_steps_ = 0;
  if (governor_) {
    governor_->restart();
    follow_governor();
  }
  if (threshold_governor_) {
    threshold_governor_->reset();
    threshold_ = threshold_governor_->threshold();
  }
  for (const auto& kv : kv_) kv->reset();
  prompts_->restart();
  condition_ = nullptr;
  decoder_state_ = std::move(decoder_state);
  seam_fade_.forget();
  const std::lock_guard lock(stats_mutex_);
  stats_.chunks = stats_.steps_computed = stats_.steps_reused = stats_.forced_computes = 0;
  stats_.kv_bytes = stats_.reuse_bytes = 0;
  stats_.last_chunk_seconds = stats_.last_decode_seconds = 0;
  stats_.governor_level = 0;
}

void Stream::tune(double threshold, double guidance) {
  if (threshold >= 0 && threshold_governor_)
    throw Error(
        FC_ERROR_ARGUMENT,
        "cache_threshold=" + std::to_string(threshold) +
            " cannot be set while a deadline steers it: open the stream with the policy itself, not auto");
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
  if (!governor_ && !threshold_governor_)
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
  const ArithmeticThreads threads(model_->threads);
  const at::Tensor features = model_->text->encode(text).embedding;
  const std::lock_guard lock(negative_mutex_);
  negative_ = features;
}

// After each chunk: what it took, and what the next ones may.
void Stream::govern(const Chunk& finished, double seconds) {
  const double step = network_seconds_ / std::max(1, network_steps_), other = seconds - network_seconds_;
  if (governor_ && network_steps_ > 0) {
    governor_->deadline(deadline_);
    governor_->observe(step, other);
    follow_governor();
  }
  if (threshold_governor_ && network_steps_ > 0) {
    const auto computed = std::count(finished.decisions.begin(), finished.decisions.end(), 1);
    threshold_governor_->deadline(deadline_);
    threshold_governor_->observe(step, other, static_cast<int>(computed));
    threshold_ = threshold_governor_->threshold();
  }
  network_seconds_ = network_steps_ = 0;
}

void Stream::follow_governor() {
  reuse_->allow(governor_->allowed());
  pace_ = governor_->step_seconds();
  const std::lock_guard lock(stats_mutex_);
  stats_.governor_level = governor_->level();
  stats_.steps_allowed = governor_->allowed();
  stats_.least_seconds = governor_->least_seconds();
}

// After a computed step: a chunk that has become too slow on the way gives up steps to come. With several in
// flight their number stays as it was when each began, since the time of one is spread over several calls.
void Stream::keep_deadline(const Task& task, double step_seconds) {
  pace_ = Governor::follow(pace_, step_seconds);
  if (schedule_.chunks_in_flight() > 1) return;
  governor_->deadline(deadline_);
  const double spent = std::min(call_watch_.seconds(), task.chunk->watch.seconds());
  reuse_->limit(task.question.info, governor_->affordable(spent, pace_));
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
  stop_at_process_end();
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
