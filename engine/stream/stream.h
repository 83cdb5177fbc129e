// SPDX-License-Identifier: LGPL-2.1-or-later
// One endless video. It owns the chunks in flight; a tick advances each of them by one step.
// docs/architecture.md describes the sequence.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/interruption.h"
#include "base/stopwatch.h"
#include "stream/chunk.h"
#include "stream/conditions.h"
#include "stream/deadline.h"
#include "stream/decoding.h"
#include "stream/feed.h"
#include "stream/loras.h"
#include "stream/parts.h"
#include "stream/recache.h"
#include "stream/rehearsal.h"
#include "stream/step.h"
#include "stream/step_timer.h"

namespace flowcache {

struct StreamStats {
  uint64_t chunks = 0, steps_computed = 0, steps_reused = 0, forced_computes = 0;
  uint64_t kv_bytes = 0, kv_budget = 0, kv_allocated = 0, reuse_bytes = 0;
  double last_chunk_seconds = 0, last_decode_seconds = 0;
  double threshold = 0, guidance = 1;
  int steps = 0, lag = 0, chunks_in_flight = 0;
  double deadline_seconds = 0;  // 0: the policy is not steered by a deadline
  int governor_level = 0;       // number of computed steps that the deadline costs; 0: full quality
  int steps_allowed = 0;        // computed steps of the chunks that begin now; 0: the number is not steered
  double least_seconds = 0;     // expected time of a chunk with the fewest computed steps; 0: as above
  // Layers of the network that the step which runs now has come to, and all that it has, in all branches and passes that it
  // may run; 0 and 0 between two steps.
  int step_layers_reached = 0, step_layers = 0;
  int devices = 1;  // that the network runs on
};

// One thread drives next() and reset(). Calls marked "any thread" may come from other threads at the same
// time.
class Stream {
 public:
  // Throws FC_ERROR_ARGUMENT, FC_ERROR_NOT_FOUND, FC_ERROR_MEMORY.
  Stream(std::shared_ptr<const LoadedModel> model, const StreamConfig& config);
  // Waits for what the device still does for the stream.
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Computes until the next chunk is finished and decoded; on a GPU, until the chunk's steps are done and its decoding
  // has begun (Chunk::decoded). Throws FC_CANCELLED after cancel(), also within a layer of the network; the next call
  // then does the part again that was stopped, and its frames are the same. Throws FC_ENDED if the KV policy keeps everything and its budget
  // is full. If ranks of the network are lost and it goes on in others, the history runs once more there, under the prompt of
  // the oldest chunk in flight, and the chunks in flight go on from where they were.
  std::shared_ptr<const Chunk> next();
  // Back to chunk 0. From here on the stream gives the same frames as a new stream with this seed and with
  // the prompts and settings that are in force now.
  void reset(uint64_t seed);
  // The seconds that a chunk fed with this strength (1: unfed) is expected to take, its encoding included: measured now, as
  // governed streams do before their first chunk anyway. One that has less time than all its steps take is expected to take
  // that time. Only before the first chunk: else FC_ERROR_ARGUMENT. FC_CANCELLED as next().
  double rehearse(double strength);
  void cancel() {  // any thread; stops lora() too
    interruption_.asked = true;
    if (loras_) loras_->cancel();
  }
  Prompts& prompts() { return conditions_->prompts(); }  // any thread
  // As Prompts::change(), with what arithmetic needs. Throws FC_ERROR_ARGUMENT for FC_PROMPT_RECACHE in a stream that
  // cannot. Any thread.
  uint64_t prompt(const std::string& text, uint64_t at_chunk, uint32_t blend_chunks);
  // As Loras::change(), with what arithmetic needs. The history stays as it is. Any thread.
  uint64_t lora(const std::string& list, uint64_t at_chunk);
  // Sets ε and the guidance scale; a negative value leaves one as it is. Throws FC_ERROR_ARGUMENT for a value
  // out of range, for an ε that a deadline steers, and for a scale other than 1 in a stream without guidance.
  // Any thread.
  void tune(double threshold, double guidance);
  // The values that hold if none are set.
  double default_threshold() const { return parts_.default_threshold; }
  double default_guidance() const { return parts_.default_scale; }
  // Sets the seconds that a chunk may take, for policies that a deadline steers. 0: most of the time that a
  // chunk is shown. Throws FC_ERROR_ARGUMENT for other policies. Any thread.
  void deadline(double seconds) { deadline_->set(seconds); }
  // Holds from the next chunk on. Throws FC_ERROR_ARGUMENT in a stream without guidance. Any thread.
  void negative_prompt(const std::string& text);
  // The pictures that the chunks to come repaint. Any thread.
  Feed& feed() { return *feed_; }
  StreamStats stats() const;  // any thread
  const LoadedModel& model() const { return *parts_.model; }
  const PictureSize& size() const { return parts_.size; }
  // For tests: the KV cache of a branch.
  const KvStore& kv(size_t branch) const { return *parts_.kv.at(branch); }
  // Bytes of finished chunks that are kept for a re-cache. Driving thread.
  uint64_t recache_bytes() const { return recache_.bytes(); }

  // For tests and golden cases: `source` gives the noise [C, F, h, w] instead of the seed. Draw 0 is the
  // initial noise of a chunk; samplers that add noise again take further draws.
  void replace_noise(std::function<at::Tensor(int64_t chunk, int64_t draw)> source) {
    parts_.noise = std::move(source);
  }
  // For tests: behaves as if "+offload" had been given, on any device. Call it before the first next().
  void offload_through(std::unique_ptr<CopyLane> lane) { parts_.lane = std::move(lane); }
  // For tests: keeps what a stream keeps whose ranks may be lost. Before the first next(). lose_keys() then is such a loss at
  // the next pass through the network.
  void may_lose_keys() { keep_past(); }
  void lose_keys() { parts_.keys_get_lost = true; }
  void watch_computed(ComputedHook hook) { watch_ = std::move(hook); }
  // For tests: called before a chunk becomes history in a guidance branch.
  void watch_history(std::function<void(size_t branch)> hook) { watch_history_ = std::move(hook); }

 private:
  StepRunner runner() { return {parts_, live_.empty() ? 0 : live_.front()->index, &watch_}; }
  template <class Task>
  auto drive(const Task& task);
  std::shared_ptr<const Chunk> make_next();
  void check_cancelled();
  Rehearsal rehearse_now();
  void rehearse_once();
  // ---- a tick: one step of every chunk in flight
  bool has_done_all_steps() const;
  void run_tick();
  void begin_tick();
  void use_changed_guidance();
  void admit(int64_t index);
  void keep_past();
  void write_keys_anew();
  void make_stores_anew();
  void use_network(LiveChunk& chunk);
  void forget_learned();
  void begin_latent(LiveChunk& chunk);
  void write_keys_as_fed(LiveChunk& chunk);
  void run_history_again(LiveChunk& chunk);
  void run(size_t step);
  void compute(Step& step);
  void take_times();
  double spent_by(const LiveChunk& chunk) const;
  void fetch_ahead(size_t step);
  // ---- a chunk that has done all its steps
  std::shared_ptr<Chunk> finish(LiveChunk& chunk);
  void become_history(LiveChunk& chunk);
  at::Tensor compared_latent(const LiveChunk& chunk) const;
  void move_to_history(LiveChunk& chunk);
  std::shared_ptr<Chunk> decode(LiveChunk& chunk);
  void context_changed();
  void forget_across(int64_t chunk);
  uint64_t reuse_bytes() const;

  LentLane lane_;  // of the steps, and of all else but decoding and text
  StreamParts parts_;
  std::unique_ptr<DeadlineKeeper> deadline_;
  StepTimer timer_;
  std::unique_ptr<Conditions> conditions_;
  std::unique_ptr<Loras> loras_;
  // Of a chunk whose admission was stopped.
  std::optional<std::pair<int64_t, ChunkConditions>> taken_;
  bool learned_is_old_ = false;  // what the policy has learned across chunks is that of other weights
  std::unique_ptr<Decoding> decoding_;
  std::unique_ptr<Feed> feed_;
  std::string recache_problem_;  // why this stream cannot re-cache; "" if it can
  Recache recache_;
  bool keeps_past_ = false;                       // for recache_
  bool keys_lost_ = false, stores_lost_ = false;  // what write_keys_anew() has to make
  at::Tensor previous_latent_;   // of the newest finished chunk, if the KV policy looks at its drift
  bool forgets_on_cut_ = false;  // after a cut to another prompt the history is dropped
  std::string ended_;            // the reason why the stream cannot continue; "" while it can
  ComputedHook watch_;
  std::function<void(size_t branch)> watch_history_;

  std::deque<std::unique_ptr<LiveChunk>> live_;  // chunks in flight, oldest first
  int64_t tick_ = 0;
  bool tick_open_ = false;
  std::vector<Step> steps_;  // of the current tick
  size_t next_step_ = 0;
  Stopwatch call_watch_;  // since next() was called

  std::atomic<double> threshold_{0}, scale_{1};
  std::atomic<bool> scale_changed_{false};
  Interruption interruption_;
  std::atomic<uint64_t> step_began_{0};  // interruption_.layers when the step began that runs now
  std::atomic<int> step_layers_{0};
  mutable std::mutex stats_mutex_;
  StreamStats stats_;
};

}  // namespace flowcache
