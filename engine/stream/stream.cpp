// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/stream.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/process_end.h"
#include "stream/work.h"

namespace flowcache {
namespace {

DeadlineKeeper::Setup deadline_setup(const StreamParts& parts) {
  const ModelPackage& package = parts.model->package;
  return {.steps = parts.schedule.steps(),
          .one_chunk = parts.schedule.chunks_in_flight() == 1,
          .playing_seconds = static_cast<double>(package.frames_per_chunk * package.fps_d) / package.fps_n,
          .steers_threshold = parts.steers_threshold,
          .threshold = parts.threshold};
}

// Puts a chunk back as it was before a step that is stopped in its middle, so that the step can be done again.
class UndoneIfStopped {
 public:
  UndoneIfStopped(StreamParts& parts, LiveChunk& chunk, int step)
      : parts_(parts),
        chunk_(chunk),
        step_(static_cast<size_t>(step)),
        residuals_(chunk.residuals),
        attention_(chunk.attention),
        tail_(chunk.tail),
        flops_(chunk.flops) {
    if (step_ < parts.across.size()) across_ = parts.across[step_];
  }
  ~UndoneIfStopped() {
    if (done_) return;
    chunk_.residuals = std::move(residuals_);
    chunk_.attention = std::move(attention_);
    chunk_.tail = std::move(tail_);
    chunk_.flops = flops_;
    if (step_ < parts_.across.size()) parts_.across[step_] = std::move(across_);
  }
  UndoneIfStopped(const UndoneIfStopped&) = delete;
  UndoneIfStopped& operator=(const UndoneIfStopped&) = delete;
  void done() { done_ = true; }

 private:
  StreamParts& parts_;
  LiveChunk& chunk_;
  size_t step_;
  PerBranch<Residuals> residuals_, across_;
  PerBranch<std::vector<Residuals>> attention_;
  PerBranch<at::Tensor> tail_;
  double flops_;
  bool done_ = false;
};

}  // namespace

Stream::Stream(std::shared_ptr<const LoadedModel> model, const StreamConfig& config)
    : lane_(model->device),
      timer_(model->device),
      forgets_on_cut_(model->package.cache.value("on_cut", "keep") == "forget") {
  const Work work(*model, *lane_);
  parts_ = assemble(std::move(model), config);
  recache_problem_ = recache_problem(parts_);
  if (recache_problem_.empty() || (parts_.model->ranks && parts_.model->ranks->goes_on())) keep_past();
  conditions_ = std::make_unique<Conditions>(*parts_.model, config.prompt, config.negative_prompt,
                                             parts_.guidance.branches() == max_branches);
  loras_ = std::make_unique<Loras>(parts_.model);
  decoding_ = std::make_unique<Decoding>(*parts_.model);
  feed_ = std::make_unique<Feed>(*parts_.model, parts_.size,
                                 static_cast<size_t>(parts_.schedule.chunks_in_flight()) + 1,
                                 parts_.initial_frames ? parts_.initial_frames->whole_chunks() : 0);
  threshold_ = parts_.threshold;
  scale_ = parts_.scale;
  deadline_ = std::make_unique<DeadlineKeeper>(*parts_.policy, deadline_setup(parts_));
  stats_.steps = parts_.schedule.steps();
  stats_.lag = parts_.schedule.lag();
  stats_.chunks_in_flight = parts_.schedule.chunks_in_flight();
  for (const auto& kv : parts_.kv) {
    stats_.kv_budget += kv->budget_bytes();
    stats_.kv_allocated += kv->allocated_bytes();
  }
}

Stream::~Stream() {
  try {
    lane_->wait();
    if (decoding_) decoding_->wait();
    if (feed_) feed_->wait();
  } catch (const std::exception& error) {
    log(FC_LOG_WARNING,
        std::string("a stream is closed, but the device did not finish its work: ") + error.what());
  }
}

// What is done for the driving thread's calls. After ranks were lost it is done again.
template <class Task>
auto Stream::drive(const Task& task) {
  const Work work(*parts_.model, *lane_);
  const Interruptible interruptible(&interruption_);
  call_watch_ = Stopwatch();
  while (true) {
    try {
      if (keys_lost_) write_keys_anew();
      return task();
    } catch (const RanksChanged&) {
      step_layers_ = 0;
      keys_lost_ = stores_lost_ = true;
    } catch (const Error& error) {
      step_layers_ = 0;
      if (error.status() == FC_CANCELLED) interruption_.asked = false;
      throw;
    }
  }
}

std::shared_ptr<const Chunk> Stream::next() {
  if (!ended_.empty()) throw Error(FC_ENDED, ended_);
  return drive([this] { return make_next(); });
}

std::shared_ptr<const Chunk> Stream::make_next() {
  rehearse_once();
  while (true) {
    // A tick that was stopped goes on first: its younger chunks attend the oldest one as it was.
    if (tick_open_ || !has_done_all_steps()) run_tick();
    if (!has_done_all_steps()) continue;
    LiveChunk& oldest = *live_.front();
    const Stopwatch chunk_watch = oldest.watch;
    const std::shared_ptr<Chunk> finished = finish(oldest);
    finished->seconds = call_watch_.seconds();
    take_times();
    deadline_->chunk_finished(count_computed(finished->decisions),
                              std::min(finished->seconds, chunk_watch.seconds()));
    if (deadline_->steers_threshold()) threshold_ = deadline_->threshold();
    const std::lock_guard lock(stats_mutex_);
    stats_.last_chunk_seconds = finished->seconds;
    return finished;
  }
}

// Also true after a call in which the chunk's last part failed, for example for lack of memory: only that is done again.
bool Stream::has_done_all_steps() const {
  if (live_.empty()) return false;
  const LiveChunk& oldest = *live_.front();
  const int done = oldest.first_step + static_cast<int>(oldest.decisions.size());
  return done >= parts_.schedule.steps_of(oldest.index);
}

void Stream::run_tick() {
  if (!tick_open_) begin_tick();
  for (; next_step_ < steps_.size(); ++next_step_) {
    check_cancelled();
    fetch_ahead(next_step_);
    run(next_step_);
  }
  tick_open_ = false;
}

void Stream::check_cancelled() {
  stop_at_process_end();
  stop_if_asked();
}

Rehearsal Stream::rehearse_now() {
  const double enough = deadline_->steers() ? deadline_->seconds() : deadline_setup(parts_).playing_seconds;
  const Rehearsal took = flowcache::rehearse(parts_, conditions_->current(parts_.network), enough,
                                             [this] { check_cancelled(); });
  if (deadline_->wants_rehearsal()) deadline_->rehearsed(took.step_seconds, took.other_seconds);
  return took;
}

void Stream::rehearse_once() {
  if (!deadline_->wants_rehearsal()) return;
  rehearse_now();
  call_watch_ = Stopwatch();
}

double Stream::rehearse(double strength) {
  if (tick_ > 0 || tick_open_)
    throw Error(FC_ERROR_ARGUMENT, "a stream is rehearsed before its first chunk, and this one has begun");
  const int steps = parts_.schedule.steps_of(1), run = steps - begin_step(check_strength(strength), steps);
  const double encoding = strength < 1 ? feed_->rehearse() : 0;
  const Rehearsal took = drive([this] { return rehearse_now(); });
  const double all = took.other_seconds + run * took.step_seconds;
  return encoding + (deadline_->steers() ? std::min(all, deadline_->seconds()) : all);
}

void Stream::begin_tick() {
  use_changed_guidance();
  forget_learned();
  parts_.guidance.use_scale(scale_);
  steps_.clear();
  next_step_ = 0;
  for (const ScheduledStep& due : parts_.schedule.tick(tick_)) {
    // A call that failed may have admitted it.
    if (due.step == 0 && (live_.empty() || live_.back()->index < due.chunk)) admit(due.chunk);
    for (const auto& chunk : live_)
      if (chunk->index == due.chunk && due.step >= chunk->first_step)
        steps_.push_back({.chunk = chunk.get(), .index = due.step});
  }
  for (const auto& chunk : live_)
    if (chunk->unseen.defined()) write_keys_as_fed(*chunk);
  const StepRunner runner = this->runner();
  std::vector<ChunkStep> questions;
  questions.reserve(steps_.size());
  for (Step& step : steps_) {
    runner.ask(step);
    questions.push_back(step.question);
  }
  std::vector<Decision> decisions;
  if (!questions.empty()) decisions = parts_.policy->decide(questions, threshold_);
  for (size_t i = 0; i < steps_.size(); ++i) {
    steps_[i].decision = decisions.at(i);
    if (questions[i].info.must_compute) steps_[i].decision = {Action::compute, true, 0, 0};
  }
  if (!steps_.empty()) runner.fetch(steps_.front());
  tick_open_ = true;
  ++tick_;
}

// The kept velocities were made with the old scale, and across chunks only the branches that contributed were
// kept.
void Stream::use_changed_guidance() {
  if (!scale_changed_.exchange(false)) return;
  parts_.across.assign(parts_.across.size(), {});
  for (const auto& chunk : live_) {
    chunk->must_compute = true;
    chunk->drop_residuals();
    parts_.policy->residuals_dropped(chunk->index);
  }
}

void Stream::run(size_t index) {
  Step& step = steps_[index];
  LiveChunk& chunk = *step.chunk;
  const TransformerShape& shape = chunk.network->shape();
  int branches = 0;
  for (size_t branch = 0; branch < parts_.guidance.branches(); ++branch)
    branches += parts_.guidance.contributes(branch) ? 1 : 0;
  step_began_ = interruption_.layers.load();
  step_layers_ = branches * shape.layers * static_cast<int>(shape.head_sets);
  UndoneIfStopped undone(parts_, chunk, step.index);
  if (step.reuses())
    runner().reuse(step);
  else
    compute(step);
  undone.done();
  step_layers_ = 0;
  chunk.decisions.push_back(step.reuses() ? 0 : 1);
  const std::lock_guard lock(stats_mutex_);
  ++(step.reuses() ? stats_.steps_reused : stats_.steps_computed);
  stats_.forced_computes += !step.reuses() && step.decision.forced;
}

void Stream::compute(Step& step) {
  const StepRunner runner = this->runner();
  if (deadline_->steers()) timer_.begin_step();
  const at::Tensor velocity = runner.compute(step);
  if (deadline_->steers()) {
    timer_.end_step();
    take_times();
    deadline_->adjust(step.question.info, spent_by(*step.chunk));
  }
  runner.advance(step, velocity);
}

// Tells the deadline how long steps took, as far as that is known.
void Stream::take_times() {
  for (const double seconds : timer_.finished()) deadline_->step_computed(seconds);
}

// Seconds that a chunk has taken when all that was given to the device for it is done.
double Stream::spent_by(const LiveChunk& chunk) const {
  const double until_now = std::min(call_watch_.seconds(), chunk.watch.seconds());
  return std::max(until_now, timer_.device_seconds() + timer_.pending() * deadline_->step_seconds());
}

// Called before a step of the tick runs. Begins to copy back the residual of the next step in the tick. With
// a policy that reuses across chunks, the one for the chunk's own next step, too, because it is known a tick
// earlier.
void Stream::fetch_ahead(size_t index) {
  if (!parts_.lane) return;
  if (index + 1 < steps_.size()) runner().fetch(steps_[index + 1]);
  const size_t next = steps_[index].index + 1;
  if (next >= parts_.across.size()) return;
  for (size_t branch = 0; branch < parts_.kv.size(); ++branch)
    if (parts_.guidance.contributes(branch)) parts_.across[next][branch].fetch();
}

// Bytes that policies and chunks in flight keep for later steps.
uint64_t Stream::reuse_bytes() const {
  uint64_t bytes = parts_.policy->state_bytes() + parts_.guidance.state_bytes();
  for (const auto& chunk : live_) bytes += chunk->residual_bytes();
  for (const auto& step : parts_.across)
    for (const Residuals& one : step) bytes += one.bytes();
  return bytes;
}

}  // namespace flowcache
