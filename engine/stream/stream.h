// SPDX-License-Identifier: LGPL-2.1-or-later
// One endless video: owns the chunks in flight; a tick advances all of them by one step.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "cache/kv/kv_store.h"
#include "cache/registry.h"
#include "stream/chunk.h"
#include "stream/governor.h"
#include "stream/live_chunk.h"
#include "stream/loaded_model.h"
#include "stream/offload.h"
#include "stream/prefix.h"
#include "stream/prompts.h"
#include "stream/schedule.h"
#include "stream/seam_fade.h"
#include "stream/stopwatch.h"
#include "stream/threshold_governor.h"

namespace flowcache {

struct StreamConfig {
  std::string prompt, negative_prompt;
  uint64_t seed = 0;
  std::string cache, kv_cache;    // policy specs; "": the model's
  bool live = false;              // played as it is made: the model's policy is the one for live streams
  double threshold = -1;          // ε; negative: the policy's or the model's
  uint64_t kv_budget = 0;         // bytes of history over all branches; 0: the model's history_chunks
  int steps = 0, lag = 0;         // 0: the model's
  int64_t width = 0, height = 0;  // of the picture; 0: the model's
  double guidance = -1;           // negative: the model's
  int clean_context =
      -1;             // 1: run a finished chunk once more, clean, for its history; 0: not; -1: the model's
  at::Tensor prefix;  // frames [n, 3, H, W] fp32 in 0..1 that the video goes on from; undefined: none
  at::Tensor prefix_latents;  // the same, already encoded: [C, F, h, w]
};

struct StreamStats {
  uint64_t chunks = 0, steps_computed = 0, steps_reused = 0, forced_computes = 0;
  uint64_t kv_bytes = 0, kv_budget = 0, kv_allocated = 0, reuse_bytes = 0;
  double last_chunk_seconds = 0, last_decode_seconds = 0;
  double threshold = 0, guidance = 1;
  int steps = 0, lag = 0, chunks_in_flight = 0;
  double deadline_seconds = 0;  // 0: the policy is not steered by one
  int governor_level = 0;       // computed steps that the deadline has cost; 0: full quality
  int steps_allowed = 0;        // computed steps of the chunks that begin now; 0: not steered by their number
  double least_seconds = 0;     // expected of a chunk of the fewest computed steps; 0: as above
};

// One thread drives next() and reset(); the calls marked "any thread" may come from others meanwhile.
class Stream {
 public:
  // Throws FC_ERROR_ARGUMENT, FC_ERROR_NOT_FOUND, FC_ERROR_MEMORY.
  Stream(std::shared_ptr<const LoadedModel> model, const StreamConfig& config);

  // Computes until the next chunk is finished and decoded. Throws FC_CANCELLED after cancel(): the next call
  // goes on where this one stopped.
  std::shared_ptr<const Chunk> next();
  // Back to chunk 0: from here on the stream is what a fresh one with this seed, the prompts and the settings in
  // force would be, frame by frame.
  void reset(uint64_t seed);
  void cancel() { cancelled_ = true; }      // any thread
  Prompts& prompts() { return *prompts_; }  // any thread
  // Negative leaves a value as it is. Throws FC_ERROR_ARGUMENT for an ε that a deadline steers. Any thread.
  void tune(double threshold, double guidance);
  // What holds where nothing else was asked for.
  double default_threshold() const { return default_threshold_; }
  double default_guidance() const { return default_guidance_; }
  // Seconds that a chunk may take, for policies that a deadline steers; 0: most of the time that it plays.
  // Throws FC_ERROR_ARGUMENT for another policy. Any thread.
  void deadline(double seconds);
  // From the next chunk on. Throws FC_ERROR_ARGUMENT in a stream without guidance. Any thread.
  void negative_prompt(const std::string& text);
  StreamStats stats() const;  // any thread
  const LoadedModel& model() const { return *model_; }

  // For tests and golden cases: the initial noise of chunk 0, 1, … and, for samplers that re-noise, further
  // draws, instead of the seed's. Returns [C, F, h, w].
  void replace_noise(std::function<at::Tensor(int64_t chunk, int64_t draw)> source) {
    noise_ = std::move(source);
  }

  // For tests: as if the policy stood before "+offload", on any device. Before the first next().
  void offload_through(std::unique_ptr<CopyLane> lane) { lane_ = std::move(lane); }

  // Told every computed step and its guided velocity [C, F, h, w], on the driving thread.
  using ComputedHook = std::function<void(const ChunkStep&, const at::Tensor& velocity)>;
  void watch_computed(ComputedHook hook) { watch_ = std::move(hook); }

 private:
  struct Task {
    LiveChunk* chunk = nullptr;
    int step = 0;
    ChunkStep question;
    Decision decision;
    Embedded embedded;  // filled when the decision needed it
    std::array<at::Tensor, max_branches>
        begun;  // tokens after the policy's first blocks, if it looks at them
  };

  void begin_tick();
  void admit(int64_t index);
  void ask(Task& task);
  Embedded embed(const LiveChunk& chunk, double timestep) const;
  struct BlockFlops {
    double all = 0, attention = 0;  // attention: what recalling its output saves
  };
  BlockFlops block_flops(const LiveChunk& chunk, size_t branch) const;
  int64_t first_frame(int64_t chunk) const;  // absolute latent frame
  at::Tensor run_blocks(const Task& task, size_t branch, const at::Tensor& tokens, int first, int last,
                        AttentionPass* attention = nullptr);
  void run(Task& task);
  at::Tensor run_network(Task& task);
  void need_embedded(Task& task) const;
  at::Tensor compute_velocity(Task& task);
  at::Tensor reuse_velocity(Task& task);
  void keep_residual(LiveChunk& chunk, size_t branch, const at::Tensor& residual) const;
  void repair(const Task& task);
  struct Branches {
    bool conditional = true, unconditional = true;
    bool operator[](size_t branch) const { return branch == 0 ? conditional : unconditional; }
  };
  Branches needed_branches(const StepInfo& info);
  at::Tensor mixed(const std::array<at::Tensor, max_branches>& velocity) const;
  at::Tensor guided(const StepInfo& info, Branches ran, std::array<at::Tensor, max_branches> velocity);
  at::Tensor kept_tokens(const Task& task, size_t branch);
  void fetch(const Task& task);
  void fetch_ahead(size_t task);
  bool writes_history(int step) const;
  bool weighs(size_t branch) const;
  void integrate(Task& task, const at::Tensor& velocity);
  at::Tensor noise(LiveChunk& chunk);
  std::vector<int64_t> latent_shape() const;
  void rehearse();
  double rehearse_step(const at::Tensor& latent);
  double rehearse_decoding(const at::Tensor& latent);
  void follow_governor();
  void keep_deadline(const Task& task, double step_seconds);
  void govern(const Chunk& finished, double seconds);
  std::shared_ptr<Chunk> finish(LiveChunk& chunk);
  uint64_t reuse_bytes() const;
  void context_changed();
  bool move_to_history(const LiveChunk& chunk);
  at::Tensor token_change(const LiveChunk& chunk) const;
  void check_cancelled();
  void count(const Decision& decision);

  std::shared_ptr<const LoadedModel> model_;
  std::unique_ptr<Sampler> sampler_;
  Schedule schedule_{1, 1};
  std::unique_ptr<ReusePolicy> reuse_;
  std::unique_ptr<GuidancePolicy> guidance_policy_;  // null: every computed step runs all branches it needs
  std::unique_ptr<CopyLane> lane_;                   // null: what chunks keep stays in the network's memory
  // For policies that reuse across chunks: what each step left, [step][branch].
  std::vector<std::array<Residuals, max_branches>> across_;
  std::vector<std::unique_ptr<KvStore>> kv_;  // one a branch
  std::unique_ptr<Prompts> prompts_;
  std::shared_ptr<const Condition> condition_, null_condition_;
  std::mutex negative_mutex_;
  at::Tensor negative_;  // features given since the last chunk began; guarded by negative_mutex_
  std::unique_ptr<DecoderState> decoder_state_;
  SeamFade seam_fade_{0};
  std::unique_ptr<Prefix> prefix_;  // null: the video begins with chunk 0

  PictureSize size_;
  uint64_t seed_ = 0;
  int64_t tick_ = 0;
  std::vector<Task> tasks_;  // of the current tick
  size_t next_task_ = 0;
  bool tick_open_ = false;
  bool clean_context_ = false;
  bool forgets_on_cut_ = false;  // a cut to another prompt begins without history
  int estimate_step_ = -1;       // whose x0 estimate the KV policy wants; -1: none
  std::string ended_;            // why the stream cannot go on; "" while it can
  std::deque<std::unique_ptr<LiveChunk>> live_;
  std::function<at::Tensor(int64_t, int64_t)> noise_;
  ComputedHook watch_;

  // At most one of the two: for policies whose steps or whose ε a deadline steers.
  std::unique_ptr<Governor> governor_;
  std::unique_ptr<ThresholdGovernor> threshold_governor_;
  bool rehearsed_ = false;      // the governor knows what steps take
  double network_seconds_ = 0;  // spent in computed steps since the last chunk was finished
  int network_steps_ = 0;
  double pace_ = 0;       // what a computed step of the chunk at work is expected to take; 0: not known yet
  Stopwatch call_watch_;  // since next() was called
  std::atomic<double> deadline_{0};

  double default_threshold_ = 0, default_guidance_ = 1;
  std::atomic<double> threshold_{0}, guidance_{1};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> guidance_changed_{false};
  double tick_guidance_ = 1;  // in force for the whole tick
  mutable std::mutex stats_mutex_;
  StreamStats stats_;
};

}  // namespace flowcache
