// SPDX-License-Identifier: LGPL-2.1-or-later
#include "worker.h"

#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

namespace flowcache::gst {
namespace {

constexpr std::chrono::milliseconds kBurst{100};  // longest time between two keystrokes while typing

}  // namespace

Chunk::Chunk(const EngineLibrary& library, fc_chunk* chunk, uint64_t started)
    : library_(library), chunk_(chunk), started_(started) {
  info_.size = sizeof info_;
  library_.chunk_describe(chunk_, &info_);
}

fc_status Chunk::write(uint32_t frame, const fc_planes& planes, std::string* error) const {
  const fc_status status = library_.chunk_write(chunk_, frame, &planes);
  if (status != FC_OK) *error = last_error_of(library_);
  return status;
}

FrameWorker::FrameWorker(EngineKey key, StreamOptions options, size_t capacity, FrameWorkerListener* listener)
    : key_(std::move(key)),
      library_(*key_.library),
      options_(std::move(options)),
      capacity_(capacity),
      listener_(listener),
      seed_(options_.settings.seed),
      lora_(options_.settings.lora) {}

void FrameWorker::start(uint32_t width, uint32_t height) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(begun_, true)) return;
  }
  width_ = width;
  height_ = height;
  thread_ = std::thread([this] { run(); });
}

void FrameWorker::stop() {
  bool idle = false;
  {
    std::lock_guard lock(mutex_);
    idle = !begun_ && !stopping_;
    stopping_ = true;
    if (stream_ != nullptr) library_.stream_cancel(stream_);
  }
  wake_worker_.notify_all();
  wake_feed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (idle) listener_->load_cancelled();
  std::lock_guard lock(mutex_);
  ring_.clear();
}

size_t FrameWorker::prompts_waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_;
}

void FrameWorker::forget_stream_prompts() {
  post([&](Changes& changes) {
    changes.forget_stream = true;
    std::erase_if(changes.later, [](const PromptChange& change) { return change.from_stream; });
  });
}

void FrameWorker::follow(std::vector<PromptChange> script) {
  for (PromptChange& change : script) change.scripted = true;
  post([&](Changes& changes) { changes.script = std::move(script); });
}

// Calls `ask`, which adds to the requested changes, under the lock, and wakes the worker.
template <typename Ask>
void FrameWorker::post(Ask ask) {
  {
    std::lock_guard lock(mutex_);
    ask(changes_);
  }
  wake_worker_.notify_all();
}

void FrameWorker::change_prompt(PromptChange change) {
  post([&](Changes& changes) {
    if (change.at != kNoTime) {
      ++waiting_;
      return changes.later.push_back(std::move(change));
    }
    if (changes.prompt) changes.overtaken.push_back(std::move(*changes.prompt));
    changes.prompt = std::move(change);
    quiet_at_ = std::chrono::steady_clock::now() + kBurst;
  });
}

void FrameWorker::tune(double cache_threshold, double guidance_scale) {
  post([&](Changes& changes) {
    if (!std::isnan(cache_threshold)) changes.cache_threshold = cache_threshold;
    if (!std::isnan(guidance_scale)) changes.guidance_scale = guidance_scale;
  });
}

void FrameWorker::change_negative_prompt(std::string text) {
  post([&](Changes& changes) {
    changes.negative_prompt = std::move(text);
    quiet_at_ = std::chrono::steady_clock::now() + kBurst;
  });
}

void FrameWorker::change_lora(std::string list) {
  std::shared_ptr<LoraChanger> loras;
  {
    std::lock_guard lock(mutex_);
    loras = loras_;
    if (!loras) lora_ = std::move(list);
  }
  if (loras) loras->change(std::move(list));
}

void FrameWorker::set_deadline(double seconds) {
  post([&](Changes& changes) { changes.deadline = seconds; });
}

void FrameWorker::reset(std::optional<uint64_t> seed) {
  std::deque<std::shared_ptr<const Chunk>> dropped;  // destroyed after the lock is released
  post([&](Changes& changes) {
    seed_ = seed.value_or(seed_);
    changes.reset = seed_;
    ++generation_;
    dropped_ += frames_in_ring();
    dropped.swap(ring_);
    next_index_ = 0;
    made_ = fed_ = 0;
    fed_times_.clear();
    draining_ = false;
    resetting_ = true;
    if (state_ == RingState::Ended) state_ = RingState::Empty;
  });
}

FrameWorker::RingState FrameWorker::peek(Frame* frame) const {
  std::lock_guard lock(mutex_);
  if (ring_.empty())
    return state_ == RingState::Empty && made_ >= options_.chunks ? RingState::Ended : state_;
  if (frame != nullptr) *frame = {ring_.front(), next_index_};
  return RingState::Ready;
}

void FrameWorker::set_due(uint64_t due) {
  std::lock_guard lock(mutex_);
  due_ = due;
}

void FrameWorker::advance(const Frame& frame, uint64_t due) {
  std::shared_ptr<const Chunk> done;  // destroyed after the lock is released
  {
    std::lock_guard lock(mutex_);
    due_ = due;
    if (ring_.empty() || ring_.front() != frame.chunk || next_index_ != frame.index) return;
    if (++next_index_ < frame.chunk->info().frames) return;
    done = std::move(ring_.front());
    ring_.pop_front();
    next_index_ = 0;
  }
  wake_worker_.notify_all();
}

uint32_t FrameWorker::frames_in_ring() const {
  uint32_t frames = 0;
  for (const auto& chunk : ring_) frames += chunk->info().frames;
  return frames - next_index_;
}

uint32_t FrameWorker::frames_ready() const {
  std::lock_guard lock(mutex_);
  return frames_in_ring();
}

uint64_t FrameWorker::frames_dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

std::shared_ptr<LoadedEngine> FrameWorker::engine() const {
  std::lock_guard lock(mutex_);
  return engine_;
}

void FrameWorker::run() noexcept {
  pthread_setname_np(pthread_self(), "flowcache-make");  // 15 characters at most
  struct Presence {
    FrameWorkerListener* listener;
    explicit Presence(FrameWorkerListener* told) : listener(told) { listener->thread_entered(); }
    ~Presence() { listener->thread_left(); }
  };
  try {
    const Presence presence(listener_);
    run_stream();
  } catch (const std::bad_alloc&) {
    fail(FC_ERROR_MEMORY, "out of memory");
  } catch (const std::exception& defect) {
    fail(FC_ERROR_INTERNAL, std::string("the engine threw an exception: ") + defect.what());
  } catch (...) {
    fail(FC_ERROR_INTERNAL, "the engine threw something that is no exception");
  }
}

void FrameWorker::set_state(RingState state) {
  {
    std::lock_guard lock(mutex_);
    state_ = state;
  }
  wake_feed_.notify_all();
  listener_->ring_changed();
}

void FrameWorker::fail(fc_status status, const std::string& sentence) {
  bool loading = false, tell = false;
  {
    std::lock_guard lock(mutex_);
    loading = loading_;
    tell = !stopping_;  // nobody listens after that
  }
  // The message comes first, then the state. If a streaming thread saw the state first, it would return an
  // error that says less, and that one would be on the bus first.
  if (tell) listener_->failed(status, sentence, loading);
  set_state(RingState::Failed);
}

void FrameWorker::run_stream() {
  if (!load()) return;
  struct Closer {
    FrameWorker& worker;
    ~Closer() {
      fc_stream* stream = nullptr;
      const std::lock_guard feeding(worker.feeding_);
      std::shared_ptr<LoraChanger> loras;
      {
        std::lock_guard lock(worker.mutex_);
        stream = std::exchange(worker.stream_, nullptr);
        loras.swap(worker.loras_);
      }
      if (loras) loras->stop();
      worker.library_.stream_close(stream);
    }
  } closer{*this};
  fc_stream* stream = nullptr;
  if (!open_stream(&stream)) return;
  make_chunks(stream);
}

bool FrameWorker::load() {
  const auto progress = [this](const char* stage, double fraction) {
    listener_->load_progress(stage, fraction);
    std::lock_guard lock(mutex_);
    return !stopping_;
  };
  const LoadResult result = load_engine(key_, {width_, height_}, progress);
  std::unique_lock lock(mutex_);
  engine_ = result.engine;
  // FC_ENDED: the process is ending.
  const bool cancelled = result.status == FC_CANCELLED || result.status == FC_ENDED || stopping_;
  lock.unlock();
  if (cancelled) {
    listener_->load_cancelled();
    return false;
  }
  if (result.status != FC_OK) fail(result.status, result.error);
  return result.status == FC_OK;
}

bool FrameWorker::read_prefix(PrefixFrames* frames) {
  if (!options_.prefix) return true;
  const auto go_on = [this] {
    std::lock_guard lock(mutex_);
    return !stopping_;
  };
  std::string error;
  *frames = options_.prefix(width_, height_, go_on, &error);
  if (frames->count > 0) return true;
  fail(FC_ERROR_ARGUMENT, error);
  if (!go_on()) listener_->load_cancelled();
  return false;
}

bool FrameWorker::open_stream(fc_stream** stream) {
  PrefixFrames prefix;
  if (!read_prefix(&prefix)) return false;
  fc_stream_config config = stream_config(options_.settings);
  config.live = options_.live ? 1 : 0;
  config.width = width_;
  config.height = height_;
  config.prefix = prefix.count > 0 ? prefix.rgb.data() : nullptr;
  config.prefix_frames = prefix.count;
  config.prefix_width = prefix.width;
  config.prefix_height = prefix.height;
  const fc_status status = library_.stream_open(engine_->handle(), &config, stream);
  if (status != FC_OK) {
    fail(status, last_error_of(library_));
    return false;
  }
  {
    std::lock_guard lock(mutex_);
    stream_ = *stream;
    if (stopping_) library_.stream_cancel(*stream);
  }
  if (options_.fed && !begin_feed(*stream)) return false;
  fc_stream_stats stats{};
  stats.size = sizeof stats;
  if (library_.stream_get_stats(*stream, &stats) == FC_OK) in_flight_ = std::max(1u, stats.chunks_in_flight);
  {
    std::lock_guard lock(mutex_);
    loading_ = false;
    feed_open_ = options_.fed;
  }
  wake_feed_.notify_all();
  listener_->loaded(library_.engine_device(engine_->handle()), library_.engine_precision(engine_->handle()));
  listener_->prompt_received({0, options_.settings.prompt, library_.stream_unknown_words(*stream), 0, 0});
  begin_with_lora(*stream);
  return true;
}

// Loads the encoder, and measures how long a live chunk will take, so that the latency is right from the first picture on.
bool FrameWorker::begin_feed(fc_stream* stream) {
  uint32_t frames = 0;
  if (const fc_status status = library_.stream_feed_frames(stream, &frames); status != FC_OK) {
    fail(status, "The pictures cannot be repainted: " + last_error_of(library_));
    return false;
  }
  if (!options_.live) return true;
  double seconds = 0;
  const fc_status status = library_.stream_rehearse(stream, options_.strength, &seconds);
  if (status == FC_OK) {
    listener_->chunk_expected(seconds);
  } else if (status == FC_CANCELLED) {
    listener_->load_cancelled();
  } else {
    fail(status, last_error_of(library_));
  }
  return status == FC_OK;
}

// The first chunk has the LoRAs that are set until here.
void FrameWorker::begin_with_lora(fc_stream* stream) {
  auto loras = std::make_shared<LoraChanger>(
      library_, stream, [this](const LoraReceipt& receipt) { listener_->lora_changed(receipt); });
  std::string list;
  {
    std::lock_guard lock(mutex_);
    loras_ = loras;
    list.swap(lora_);
    if (stopping_) return;
  }
  if (!list.empty()) loras->change_now(list);
}

bool FrameWorker::wanted() const {
  // The chunks in flight begin one after the other within one call of the engine, so they are fed before it.
  const bool fed = !options_.fed || fed_ >= made_ + (draining_ ? 1 : in_flight_);
  return fed && ring_.size() < capacity_ && made_ < options_.chunks && state_ == RingState::Empty;
}

// Sleeps until there is work. Changed texts go to the engine before the next chunk or, if no chunk is
// wanted, when nobody has typed for a while.
void FrameWorker::wait_for_work(std::unique_lock<std::mutex>& lock) {
  while (!stopping_ && !changes_.urgent() && !wanted()) {
    const auto quiet_at = quiet_at_;
    if (!changes_.texts()) {
      wake_worker_.wait(lock);
    } else if (wake_worker_.wait_until(lock, quiet_at) == std::cv_status::timeout && quiet_at == quiet_at_) {
      return;
    }
  }
}

void FrameWorker::make_chunks(fc_stream* stream) {
  while (true) {
    Changes changes;
    uint64_t generation = 0;
    bool room = false;
    {
      std::unique_lock lock(mutex_);
      wait_for_work(lock);
      if (stopping_) return;
      changes = std::exchange(changes_, {});
      generation = generation_;
      room = wanted();
    }
    apply(stream, std::move(changes));
    if (room && !make_chunk(stream, generation)) return;
  }
}

// Makes the next chunk. Returns false if there is none and never will be.
bool FrameWorker::make_chunk(fc_stream* stream, uint64_t generation) {
  follow_script(stream);
  follow_times(stream);
  const uint64_t started = listener_->now();
  fc_chunk* made = nullptr;
  const fc_status status = library_.stream_next(stream, &made);
  if (status == FC_CANCELLED) return true;
  if (status == FC_ENDED) {
    const std::string sentence = last_error_of(library_);
    bool reset = false;
    {
      std::lock_guard lock(mutex_);
      reset = generation != generation_;
    }
    if (reset) return true;
    listener_->ended(sentence);
    set_state(RingState::Ended);
    return true;
  }
  if (status != FC_OK) {
    fail(status, last_error_of(library_));
    return false;
  }
  auto chunk = std::make_shared<const Chunk>(library_, made, started);
  fc_stream_stats stats{};
  stats.size = sizeof stats;
  library_.stream_get_stats(stream, &stats);
  const fc_chunk_info info = chunk->info();
  next_chunk_ = info.chunk + 1;
  std::erase_if(handed_, [&](const Handed& prompt) {
    return prompt.ticket == info.prompt_ticket || prompt.by_chunk <= info.chunk;
  });
  double seconds = info.seconds;
  if (!push(std::move(chunk), generation, &seconds)) return true;
  wake_feed_.notify_all();
  listener_->chunk_finished(info, stats, seconds);
  listener_->ring_changed();
  return true;
}

// Adds the time that its pictures took to `seconds`.
bool FrameWorker::push(std::shared_ptr<const Chunk> chunk, uint64_t generation, double* seconds) {
  std::lock_guard lock(mutex_);
  if (generation != generation_) dropped_ += chunk->info().frames;
  if (generation != generation_ || chunk->info().frames == 0) return false;
  made_ = chunk->info().chunk + 1;
  if (const auto fed = fed_times_.find(chunk->info().chunk); fed != fed_times_.end())
    *seconds += fed->second.encoding;
  fed_times_.erase(fed_times_.begin(), fed_times_.lower_bound(made_));
  ring_.push_back(std::move(chunk));
  return true;
}

}  // namespace flowcache::gst
