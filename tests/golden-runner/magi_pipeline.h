// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's finite pipelines, made from the engine's parts: Schedule gives the steps, KvStore holds keys and
// values, and FlowCacheReuse decides. What only the published code does is a setting here and is not in the
// engine.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "cache/kv/kv_store.h"
#include "cache/reuse/flowcache.h"
#include "magi_reference.h"

namespace golden {

struct MagiRun {
  int steps = 0, chunks = 0, window = 4;
  int prefix = 0;              // latent frames of a prefix video
  std::vector<int> key_range;  // chunks attended, with the own one, for each quarter of the steps; empty: all
  int clean_key_range = 1;     // the same for a clean chunk, if key_range is given; <= 0: its last entry
  double clean_time = 0.9999;
  std::string shortcut = "8,16,16";
  bool clean_pass =
      false;  // a finished chunk runs once more, clean and without caption, to leave its history
  std::optional<double> near_clean;  // after this time the oldest chunk also runs without history
  std::optional<double> threshold;   // steps are reused below this threshold
  int warmup = 0;
  int64_t history_chunks = 0;  // 0: all
};

// One global step as the cases list it. For each chunk: the time, the decision, the means of the latents.
struct MagiStep {
  int stage = 0, inner = 0;
  std::vector<std::pair<int, double>> forwarded;  // chunk and time, a clean chunk first
  bool clean = false, near_clean = false;
  std::vector<std::pair<int, flowcache::Decision>> decisions;
  bool undecided = false;  // the first and the last step are computed without a decision
};

// Recorded when a finished chunk makes the history too large.
struct MagiShrinking {
  int after_step = 0;
  std::vector<int> clean;  // the chunks that the history was made of
  int query_chunk = 0, query_step = 0;
};

class MagiPipeline {
 public:
  // `policy` reduces the history; null keeps all. Latents are [C, 6 * chunks, h, w]; prefix may be undefined.
  MagiPipeline(const flowcache::MagiTransformer& model, const MagiRun& run,
               std::vector<std::shared_ptr<const flowcache::Condition>> captions, const at::Tensor& latents,
               const at::Tensor& prefix, std::unique_ptr<flowcache::KvPolicy> policy);

  int total_steps() const;
  MagiStep step(int global);
  const at::Tensor& latents() const { return latents_; }
  const std::vector<MagiShrinking>& shrinkings() const { return shrinkings_; }
  // The number of frames of each chunk that are shown.
  std::vector<int> emitted() const;

 private:
  int offset() const { return run_.prefix / static_cast<int>(chunk_frames); }
  int per_stage() const { return run_.steps / run_.window; }
  at::Tensor chunk(int c) const { return latents_.narrow(1, c * chunk_frames, chunk_frames); }
  at::Tensor forward(int c, double t, int range, const flowcache::Condition& condition, double step_size);
  int range_at(int step) const;
  void paste_prefix(int c);
  void run_prefix();
  void decide(int global, const std::vector<std::pair<int, int>>& tick, MagiStep& report);
  void advance(const std::vector<std::pair<int, int>>& tick, MagiStep& report, int global);
  void finish(int c, int global);

  const flowcache::MagiTransformer& model_;
  MagiRun run_;
  std::vector<std::shared_ptr<const flowcache::Condition>> captions_;
  std::shared_ptr<const flowcache::Condition> null_;
  at::Tensor latents_, initial_frames_, times_;
  std::vector<float> intervals_;
  std::unique_ptr<flowcache::KvStore> store_;
  flowcache::FlowCacheReuse reuse_;
  std::map<int, at::Tensor> increments_;  // of each chunk's last computed step
  std::vector<MagiShrinking> shrinkings_;
  int admitted_ = 0;
  int last_chunk_ = 0, last_step_ = 0;  // the last ones that ran
};

}  // namespace golden
