// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/stream.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/process_end.h"
#include "stream/rehearsal.h"
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

// The mean squared difference of two latents of a chunk, for each token: [tokens]. Undefined if one of them is.
at::Tensor token_change(const at::Tensor& one, const at::Tensor& other, const TransformerShape& shape) {
  if (!one.defined() || !other.defined()) return {};
  const at::Tensor error = (one - other).square().mean(0);  // [F, h, w]
  return error.unfold(1, shape.patch_height, shape.patch_height)
      .unfold(2, shape.patch_width, shape.patch_width)
      .mean({3, 4})
      .flatten();
}

// Whether all values of a chunk's latent are finite. On a GPU the answer is there when the steps are done, so the chunk's
// other work is begun before it is read.
class FiniteCheck {
 public:
  // Throws what read() throws, if the answer is there at once.
  explicit FiniteCheck(const LiveChunk& chunk) : index_(chunk.index) {
    at::Tensor finite = chunk.latent.isfinite().all();
    if (finite.is_cuda()) {
      answer_ = at::empty({}, at::TensorOptions().dtype(at::kBool).pinned_memory(true));
      answer_.copy_(finite, /*non_blocking=*/true);
      there_ = Mark::here(finite.device());
      return;
    }
    answer_ = finite;
    read();
    answer_ = at::Tensor();
  }
  // Waits for the chunk's steps, if the answer was not there at once. Throws FC_ERROR_MODEL if a value is not finite.
  void read() const {
    if (!answer_.defined()) return;
    there_.wait();
    if (!answer_.item<bool>())
      throw Error(FC_ERROR_MODEL,
                  "chunk " + std::to_string(index_) +
                      " contains values that are not finite: the weights are damaged or do not "
                      "fit this precision; try precision=fp32");
  }

 private:
  int64_t index_;
  at::Tensor answer_;
  Mark there_;
};

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

int count_computed(const std::vector<uint8_t>& decisions) {
  return static_cast<int>(std::count(decisions.begin(), decisions.end(), 1));
}

}  // namespace

Stream::Stream(std::shared_ptr<const LoadedModel> model, const StreamConfig& config)
    : lane_(model->device),
      timer_(model->device),
      forgets_on_cut_(model->package.cache.value("on_cut", "keep") == "forget") {
  const Work work(*model, *lane_);
  parts_ = assemble(std::move(model), config);
  recache_problem_ = recache_problem(parts_);
  if (recache_problem_.empty()) recache_.reserve(parts_);
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

std::shared_ptr<const Chunk> Stream::next() {
  const Work work(*parts_.model, *lane_);
  const Interruptible interruptible(&interruption_);
  try {
    return make_next();
  } catch (const Error& error) {
    step_layers_ = 0;
    if (error.status() == FC_CANCELLED) interruption_.asked = false;
    throw;
  }
}

std::shared_ptr<const Chunk> Stream::make_next() {
  if (!ended_.empty()) throw Error(FC_ENDED, ended_);
  rehearse_once();
  call_watch_ = Stopwatch();
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

void Stream::rehearse_once() {
  if (!deadline_->wants_rehearsal()) return;
  const Rehearsal took = rehearse(parts_, conditions_->current(parts_.network), deadline_->seconds(),
                                  [this] { check_cancelled(); });
  deadline_->rehearsed(took.step_seconds, took.other_seconds);
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

void Stream::admit(int64_t index) {
  auto chunk = std::make_unique<LiveChunk>();
  chunk->index = index;
  // If other chunks in flight attend this one, its keys and values must be written, so its first step is
  // computed.
  chunk->must_compute = !parts_.policy->across_chunks() || parts_.schedule.chunks_in_flight() > 1;
  chunk->sampler = parts_.sampler_of(index).begin_chunk();
  begin_latent(*chunk);
  use_network(*chunk);
  if (!taken_ || taken_->first != index) taken_.emplace(index, conditions_->take(index, chunk->network));
  const ChunkConditions own = taken_->second;
  chunk->conditions = own.conditions;
  chunk->prompt_ticket = own.ticket;
  chunk->is_cut = own.cut;
  if (own.cut && forgets_on_cut_) {
    bool dropped = false;
    for (const auto& kv : parts_.kv) dropped |= kv->forget_history();
    recache_.forget();
    if (dropped) context_changed();
  }
  // R7: it was computed under other conditions, or at other noise levels.
  if (own.changed || (index == 1 && parts_.first_sampler)) forget_across(index);
  if (own.recache) recache_.want();
  if (recache_.wanted()) run_history_again(*chunk);
  if (parts_.initial_frames && index == 0) {
    parts_.initial_frames->fill_history(*chunk->network, parts_.kv,
                                        std::span(chunk->conditions).first(parts_.kv.size()));
    decoding_->run_prefix(*parts_.initial_frames);
  }
  for (const auto& kv : parts_.kv) kv->admit(index, parts_.first_frame(index));
  chunk->watch = Stopwatch();
  timer_.begin_chunk();
  taken_.reset();
  live_.push_back(std::move(chunk));
  feed_->begun();
}

// The latent that the chunk's first step starts from.
void Stream::begin_latent(LiveChunk& chunk) {
  const at::Tensor noise = runner().noise(chunk);
  const std::optional<Fed> fed = feed_->next();
  if (!fed) {
    chunk.latent = noise;
    return;
  }
  const StepTable& table = parts_.sampler_of(chunk.index).table();
  chunk.strength = fed->strength;
  chunk.first_step = begin_step(fed->strength, table.steps());
  const at::Tensor clean = fed->latent.take();
  chunk.latent = begun_at(clean, noise, table, chunk.first_step);
  if (chunk.first_step > 0 && parts_.schedule.chunks_in_flight() > 1) chunk.unseen = clean;
}

// A fed chunk waits for its first step. The chunks in flight behind it attend it meanwhile, as it was fed.
void Stream::write_keys_as_fed(LiveChunk& chunk) {
  LiveChunk clean;
  clean.index = chunk.index;
  clean.latent = chunk.unseen;
  clean.network = chunk.network;
  clean.conditions = chunk.conditions;
  runner().run_clean(clean, parts_.first_frame(chunk.index));
  chunk.flops += clean.flops;
  chunk.unseen = at::Tensor();
}

// R7: a chunk keeps its network until it ends, so what is kept within it fits. What is kept across chunks goes by its
// conditions, which belong to a network (StepRunner::ask()), and what the policy has learned is forgotten once no chunk of the other network is left.
void Stream::use_network(LiveChunk& chunk) {
  const ChunkNetwork own = loras_->take(chunk.index);
  chunk.network = own.network;
  chunk.lora_ticket = own.ticket;
  chunk.lora_seconds = own.seconds;
  if (chunk.network == parts_.network) return;
  parts_.network = chunk.network;
  taken_.reset();
  if (parts_.graphs) parts_.graphs->forget();
  learned_is_old_ = true;
  forget_learned();
}

void Stream::forget_learned() {
  if (!learned_is_old_) return;
  for (const auto& chunk : live_)
    if (chunk->network != parts_.network) return;
  learned_is_old_ = false;
  parts_.policy->reset();
  for (const auto& chunk : live_) {
    chunk->must_compute = true;
    chunk->drop_residuals();
  }
}

// No other chunk is in flight. After a cancellation the chunk is admitted again, and this goes on.
void Stream::run_history_again(LiveChunk& chunk) {
  const Recache::Cost cost = recache_.go_on(parts_, chunk.conditions, [this] { check_cancelled(); });
  chunk.recached_chunks = cost.chunks;
  chunk.recache_seconds = cost.seconds;
  chunk.flops += cost.flops;
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

std::shared_ptr<Chunk> Stream::finish(LiveChunk& chunk) {
  std::optional<FiniteCheck> finite;
  if (!chunk.in_history) {
    finite.emplace(chunk);
    become_history(chunk);
  }
  const std::shared_ptr<Chunk> result = decode(chunk);
  result->seed = parts_.seed;
  result->prompt_ticket = chunk.prompt_ticket;
  result->decisions = std::move(chunk.decisions);
  result->threshold = threshold_;
  result->flops = chunk.flops;
  result->recached_chunks = chunk.recached_chunks;
  result->recache_seconds = chunk.recache_seconds;
  result->lora_ticket = chunk.lora_ticket;
  result->lora_seconds = chunk.lora_seconds;
  result->strength = chunk.strength;
  result->governor_level =
      deadline_->level_of(count_computed(result->decisions), static_cast<int>(result->decisions.size()));
  live_.pop_front();  // destroys `chunk`
  if (finite) finite->read();
  decoding_->keep_up();  // behind the steps, in whose time it should long be done

  const std::lock_guard lock(stats_mutex_);
  ++stats_.chunks;
  stats_.last_decode_seconds = decoding_->last_seconds();
  stats_.kv_bytes = stats_.kv_allocated = 0;
  for (const auto& kv : parts_.kv) {
    stats_.kv_bytes += kv->history_bytes();
    stats_.kv_allocated += kv->allocated_bytes();
  }
  result->kv_bytes = stats_.kv_bytes;
  result->kv_budget = stats_.kv_budget;
  return result;
}

void Stream::become_history(LiveChunk& chunk) {
  const double flops = chunk.flops;
  // Where no step ran, nothing has written its keys.
  const bool no_step = chunk.first_step >= parts_.schedule.steps_of(chunk.index);
  try {
    if ((parts_.clean_context || no_step) && !chunk.is_clean)
      runner().run_clean(chunk, parts_.first_frame(chunk.index));
  } catch (...) {
    chunk.flops = flops;  // all of it runs again
    throw;
  }
  chunk.is_clean = true;
  const uint64_t held = reuse_bytes();  // now it is largest; most of it is freed below
  move_to_history(chunk);
  chunk.in_history = true;
  parts_.policy->end_chunk(chunk.index);
  parts_.guidance.end_chunk(chunk.index);
  if (chunk.context_changed) context_changed();
  const std::lock_guard lock(stats_mutex_);
  stats_.reuse_bytes = held;
}

// The chunk as it leaves the stream, with its frames, and the latent that was decoded.
std::shared_ptr<Chunk> Stream::decode(LiveChunk& chunk) {
  const Interruptible never(nullptr);  // the decoder remembers what it has seen, and must see each chunk once
  const auto result = std::make_shared<Chunk>(decoding_->host_wish());
  InitialFrames* const initial = parts_.initial_frames.get();
  result->latent = initial ? initial->finished(chunk.index, chunk.latent) : chunk.latent;
  result->index = chunk.index;
  // What is shown as it was fed has no seam of this stream's making.
  const bool as_fed = chunk.first_step >= parts_.schedule.steps_of(chunk.index);
  decoding_->decode(result->latent, initial, chunk.is_cut || as_fed, *result);
  return result;
}

// What the KV policy wants the chunk's final latent compared with.
at::Tensor Stream::compared_latent(const LiveChunk& chunk) const {
  if (!parts_.kv.front()->policy().needs_drift()) return chunk.estimate;
  const bool begins = chunk.is_cut || !previous_latent_.defined();
  return begins ? chunk.latent : previous_latent_;
}

// A branch that is done is not done again, when another one has failed.
void Stream::move_to_history(LiveChunk& chunk) {
  try {
    if (!chunk.change.defined())
      chunk.change = token_change(chunk.latent, compared_latent(chunk), parts_.model->transformer->shape());
    for (size_t branch = 0; branch < parts_.kv.size(); ++branch) {
      KvStore& kv = *parts_.kv[branch];
      if (!kv.is_in_flight(chunk.index)) continue;
      if (watch_history_) watch_history_(branch);
      chunk.context_changed |= kv.finish(chunk.index, chunk.change);
    }
    if (recache_problem_.empty()) recache_.keep(parts_, chunk.index, chunk.latent, chunk.change);
    if (parts_.kv.front()->policy().needs_drift()) previous_latent_ = chunk.latent;
  } catch (const Error& error) {
    if (error.status() != FC_ENDED) throw;
    ended_ = error.what();  // this chunk is complete; the next call throws the reason why there is no other
  }
}

// R5: the chunks in flight attend another context than the one they were computed with.
void Stream::context_changed() {
  for (const auto& other : live_) {
    if (other->in_history) continue;
    parts_.policy->context_changed(other->index);
    other->must_compute |= parts_.policy->recompute_on_context_change();
    if (!parts_.residual->tied_to_context()) continue;
    other->drop_residuals();
    parts_.policy->residuals_dropped(other->index);
  }
}

void Stream::forget_across(int64_t chunk) {
  if (!parts_.policy->across_chunks()) return;
  parts_.across.assign(parts_.across.size(), {});
  parts_.policy->residuals_dropped(chunk);
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
