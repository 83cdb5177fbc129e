// SPDX-License-Identifier: LGPL-2.1-or-later
// Compute or reuse: the question every chunk answers at every denoising step.
//
// A policy sees features and returns decisions; it never sees a network, a latent update or a device call of
// its own beyond the distance it measures. The stream keeps what is reused (the residual) and does the
// reusing.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace flowcache {

// What a policy looks at. The stream produces only what is asked for.
enum class Tap : unsigned {
  none = 0,
  modulation = 1,     // e0 [groups, 6, dim] fp32: depends on the timestep only
  tokens = 2,         // embedded latent [L, dim], before the first block
  latent = 4,         // x [C, F, h, w] fp32, before the step
  velocity = 8,       // network output [C, F, h, w], given to computed() only
  first_blocks = 16,  // what the first blocks changed [L, dim]: they run on every step, on all branches
};
constexpr Tap operator|(Tap a, Tap b) {
  return static_cast<Tap>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr bool wants(Tap set, Tap one) {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0;
}

// What is applied again on a reused step.
enum class ReuseKind {
  velocity,          // v of the last computed step, integrated with the current step's sigmas
  latent_increment,  // x' - x of the last computed step, as FlowCache's MAGI-1 code does
  output_delta,      // v - x of the last computed step (EasyCache)
  token_residual,    // h_out - h_in over all blocks; embed and head still run (TeaCache, FlowCache on
                     // SkyReels-V2)
  tail_residual,     // the same without the first and last blocks, which always run (FBCache, DBCache)
  attention_output,  // every block's self-attention; the rest of the network runs (FasterCache)
};

// Where a chunk stands. Steps are counted per chunk, never per stream (rule R2).
struct StepInfo {
  int64_t chunk = 0;
  int step = 0;   // 0..steps-1
  int steps = 0;  // N
  double timestep = 0, sigma = 1, sigma_next = 0;
  bool must_compute =
      false;  // the stream's rules demand it (R1, R5, nothing to reuse); the answer is then `compute`
  bool last_is_history = false;  // the stream will demand the chunk's last step: it becomes history (R1)
};

struct StepFeatures {
  at::Tensor modulation, tokens, latent, first_blocks;  // those asked for; the others undefined
};

struct ChunkStep {
  StepInfo info;
  StepFeatures features;
};

enum class Action { compute, reuse };

struct Decision {
  Action action = Action::compute;
  bool forced = false;  // a rule decided (warm-up, last step, must_compute, unsafe metric), not the distance
  double distance = 0;  // what this step added, after any polynomial; 0 where not measured
  double accumulated = 0;  // the accumulator after the decision
  bool tail = false;  // a reuse applies the tail residual, whatever the policy's kind; only with keeps_tail()
};

// Not thread-safe: one policy object a stream.
class ReusePolicy {
 public:
  virtual ~ReusePolicy() = default;
  virtual Tap taps() const = 0;
  virtual ReuseKind kind() const = 0;

  // For tail_residual: how many blocks run on every step before and after what is reused.
  virtual int first_blocks() const { return 0; }
  virtual int last_blocks() const { return 0; }
  // True: the stream also keeps the newest tail residual, so that a decision may ask for it.
  virtual bool keeps_tail() const { return false; }
  // True: a reused step applies what the last chunk that computed the same step left, not what its own chunk
  // computed before. Such a policy may reuse a chunk's first steps.
  virtual bool across_chunks() const { return false; }

  // One decision for each chunk in flight, oldest first, all of the same tick. `threshold` is the ε in force.
  // A distance that is not finite or is negative means compute (R6).
  virtual std::vector<Decision> decide(std::span<const ChunkStep> tick, double threshold) = 0;

  // The network ran for this step; `velocity` is defined if taps() asks for it.
  virtual void computed(const ChunkStep&, const at::Tensor& /*velocity*/) {}

  // Prediction: what a reused step applies. By default the newest computed residual, held.
  // How many of a chunk's last computed residuals the stream keeps; constant.
  virtual int residuals_kept() const { return 1; }
  // After a decision to reuse: factors for the kept residuals, newest first, at most as many as the chunk has
  // computed. The step applies their sum.
  virtual std::vector<double> prediction(const StepInfo&) const { return {1.0}; }
  // After computed(): factors for the kept residuals, newest first (the one just computed), whose sum is
  // added to the latent before this step moves it: what the predictions since the last computation got wrong.
  // Empty: nothing.
  virtual std::vector<double> correction(const StepInfo&) const { return {}; }
  virtual bool corrects() const { return false; }  // does correction() ever say anything?

  // The chunk's kept residuals no longer fit (guidance has changed) and the stream has dropped them.
  virtual void residuals_dropped(int64_t /*chunk*/) {}
  // A policy that a deadline may steer names the fewest and the most steps of a chunk (of `steps`) that it
  // can compute; {0, 0} for the others.
  struct Range {
    int fewest = 0, most = 0;
  };
  virtual Range governed(int /*steps*/) const { return {}; }
  // Chunks that begin from now on compute this many steps. Only if governed().
  virtual void allow(int /*computed*/) {}
  // This chunk, which has done the step `done`, has time for at most `more` further computed steps: it gives
  // up others, down to the fewest of governed(), whose steps to come it keeps. Only if governed().
  virtual void limit(const StepInfo& /*done*/, int /*more*/) {}

  // What the chunk attends has changed (history compressed or evicted, prompt switched). Default: nothing to
  // forget.
  virtual void context_changed(int64_t /*chunk*/) {}
  // Rule R5: after such a change the stream makes the chunk compute its next step, unless the policy
  // declines.
  virtual bool recompute_on_context_change() const { return true; }
  // The chunk is finished: drop its state.
  virtual void end_chunk(int64_t chunk) = 0;
  // A new stream begins: forget everything.
  virtual void reset() = 0;
  // Bytes of features kept now.
  virtual uint64_t state_bytes() const = 0;
};

// A policy whose decision about a chunk looks at no other chunk of the tick.
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
