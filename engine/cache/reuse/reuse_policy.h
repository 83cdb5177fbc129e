// SPDX-License-Identifier: LGPL-2.1-or-later
// A reuse policy decides for each denoising step of each chunk whether the network runs or an earlier result
// is applied again.
//
// A policy gets features and returns decisions. It does not see the network and does not change latents; of
// the device it uses only what measuring a distance needs. The stream keeps what is reused (the residual) and
// applies it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace flowcache {

// The features that a policy can look at. The stream produces only those that the policy asks for.
enum class Tap : unsigned {
  none = 0,
  modulation = 1,     // e0 [groups, 6, dim] fp32: depends on the timestep only
  tokens = 2,         // embedded latent [L, dim], before the first block
  latent = 4,         // x [C, F, h, w] fp32, before the step
  velocity = 8,       // network output [C, F, h, w], given to computed() only
  first_blocks = 16,  // what the first blocks changed [L, dim]; they then run on every step, for all branches
};
constexpr Tap operator|(Tap a, Tap b) {
  return static_cast<Tap>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr bool wants(Tap set, Tap one) {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0;
}

// What a reused step applies.
enum class ReuseKind {
  velocity,          // v of the last computed step, integrated with the current step's sigmas
  latent_increment,  // x' - x of the last computed step, as FlowCache's MAGI-1 code does
  output_delta,      // v - x of the last computed step (EasyCache)
  token_residual,    // h_out - h_in over all blocks; embedding and head still run (TeaCache, FlowCache on
                     // SkyReels-V2)
  tail_residual,     // the same without the first and last blocks, which always run (FBCache, DBCache)
  attention_output,  // outputs of each block's self-attention; the rest of the network runs (FasterCache)
};

// Which step of which chunk. Steps are counted from the start of the chunk, not of the stream (rule R2). A chunk that repaints
// what it was fed with has fewer steps than others, those at the end of the sampler's table.
struct StepInfo {
  int64_t chunk = 0;
  int step = 0;   // 0..steps-1
  int steps = 0;  // N of an ordinary chunk
  double timestep = 0, sigma = 1, sigma_next = 0;
  // The stream's rules demand that this step is computed (R1, R5, or nothing can be reused yet).
  bool must_compute = false;
  bool last_is_history = false;  // the chunk's last step becomes history, so it will be computed (R1)
  int left_out = 0;              // steps of the sampler's table before the chunk's first one

  // For policies that know the noise levels: the step's place among all of the table, and their number.
  int place() const { return left_out + step; }
  int places() const { return left_out + steps; }
};

struct StepFeatures {
  at::Tensor modulation, tokens, latent, first_blocks;  // those that taps() names; the others are undefined
};

struct ChunkStep {
  StepInfo info;
  StepFeatures features;
};

enum class Action { compute, reuse };

struct Decision {
  Action action = Action::compute;
  // A rule decided (warm-up, last step, must_compute, unsafe distance), not the distance.
  bool forced = false;
  double distance = 0;     // what this step added to the sum, after any polynomial; 0 if not measured
  double accumulated = 0;  // the sum after the decision
  bool tail = false;       // a reuse applies the tail residual instead of kind(); only if keeps_tail()
};

// Not thread-safe. Each stream has its own policy object.
class ReusePolicy {
 public:
  virtual ~ReusePolicy() = default;
  virtual Tap taps() const = 0;
  virtual ReuseKind kind() const = 0;

  // For tail_residual: how many blocks before and after the reused part run on every step.
  virtual int first_blocks() const { return 0; }
  virtual int last_blocks() const { return 0; }
  // True: the stream also keeps the newest tail residual, so that Decision::tail can be set.
  virtual bool keeps_tail() const { return false; }
  // True: a reused step applies the residual that the same step of the last chunk that computed it left.
  // False: it applies a residual of its own chunk. A policy that returns true may reuse a chunk's first
  // steps.
  virtual bool across_chunks() const { return false; }

  // One decision for each element of `tick`: the chunks in flight, oldest first, each with its step in this
  // tick. `threshold` is the current ε. A distance that is negative or not finite must give compute (R6).
  virtual std::vector<Decision> decide(std::span<const ChunkStep> tick, double threshold) = 0;

  // The network ran for this step. `velocity` is defined only if taps() names it.
  virtual void computed(const ChunkStep&, const at::Tensor& /*velocity*/) {}

  // Prediction: what a reused step applies. By default it is the newest computed residual.
  // The number of a chunk's last computed residuals that the stream keeps; constant.
  virtual int residuals_kept() const { return 1; }
  // Called after a decision to reuse. Returns factors for the kept residuals, newest first, at most as many
  // as the chunk has computed. The step applies the sum of the residuals times their factors.
  virtual std::vector<double> prediction(const StepInfo&) const { return {1.0}; }
  // Called after computed(). Returns factors for the kept residuals, newest first; the newest is the one just
  // computed. The sum of the residuals times their factors is added to the latent before this step moves it.
  // It repairs the error of the predictions since the computed step before. Empty: nothing is added.
  virtual std::vector<double> correction(const StepInfo&) const { return {}; }
  virtual bool corrects() const { return false; }  // false: correction() always returns an empty list

  // The stream has dropped this chunk's kept residuals, because the guidance has changed and they no longer
  // fit.
  virtual void residuals_dropped(int64_t /*chunk*/) {}
  // For policies that a deadline can steer: the least and the largest number of steps that the policy can
  // compute in a chunk of `steps` steps. {0, 0} for all others.
  struct Range {
    int fewest = 0, most = 0;
  };
  virtual Range governed(int /*steps*/) const { return {}; }
  // Chunks that begin from now on compute this many steps. Called only if governed() gives a range.
  virtual void allow(int /*computed*/) {}
  // This chunk has finished the step `done` and has time for at most `more` further computed steps. The
  // policy gives up computed steps until that holds, but keeps the least number that governed() names. Called
  // only if governed() gives a range.
  virtual void limit(const StepInfo& /*done*/, int /*more*/) {}

  // What the chunk attends has changed: tokens of the history were dropped, or the prompt has changed. By
  // default there is nothing to forget.
  virtual void context_changed(int64_t /*chunk*/) {}
  // Rule R5: after such a change the stream makes the chunk compute its next step. A policy that returns
  // false does without that.
  virtual bool recompute_on_context_change() const { return true; }
  // The chunk is finished, and its state is dropped.
  virtual void end_chunk(int64_t chunk) = 0;
  // A new stream begins, and all state is dropped.
  virtual void reset() = 0;
  // Bytes of the features that the policy keeps now.
  virtual uint64_t state_bytes() const = 0;
};

// A policy that decides about each chunk of a tick without looking at the others.
class PerChunkPolicy : public ReusePolicy {
 public:
  std::vector<Decision> decide(std::span<const ChunkStep> tick, double threshold) final {
    std::vector<Decision> decisions;
    decisions.reserve(tick.size());
    for (const ChunkStep& step : tick) decisions.push_back(decide_one(step, threshold));
    return decisions;
  }

 private:
  virtual Decision decide_one(const ChunkStep& step, double threshold) = 0;
};

}  // namespace flowcache
