// SPDX-License-Identifier: LGPL-2.1-or-later
// One step of one chunk in flight: fills in the question for the policy, and computes or reuses.
#pragma once

#include <functional>

#include "stream/live_chunk.h"
#include "stream/parts.h"

namespace flowcache {

struct Step {
  LiveChunk* chunk = nullptr;
  int index = 0;
  ChunkStep question;
  Decision decision;
  Embedded embedded;  // empty until embed()
  PerBranch<at::Tensor>
      first_tokens;  // tokens after the policy's first blocks; undefined if it looks at none

  bool reuses() const { return decision.action == Action::reuse; }
};

// Called after every computed step with its guided velocity [C, F, h, w], on the driving thread.
using ComputedHook = std::function<void(const ChunkStep&, const at::Tensor& velocity)>;

// Runs steps with the parts of a stream. Cheap to make; it has no state of its own.
class StepRunner {
 public:
  // oldest: number of the oldest chunk in flight. hook: may be null. `parts` and `hook` outlive this.
  StepRunner(StreamParts& parts, int64_t oldest, const ComputedHook* hook = nullptr)
      : parts_(parts), oldest_(oldest), hook_(hook) {}

  // Fills in the question, with all features that the policy looks at.
  void ask(Step& step) const;
  // Runs the network. Returns the guided velocity [C, F, h, w].
  at::Tensor compute(Step& step) const;
  // Called after compute(): keeps what later steps reuse, and moves the latent.
  void advance(Step& step, const at::Tensor& velocity) const;
  // Moves the latent by the residual; the network does not run, or only in part.
  void reuse(Step& step) const;
  // Runs a finished chunk once more, clean, to write its keys and values. first_frame: of the chunk in the video.
  void run_clean(LiveChunk& chunk, int64_t first_frame) const {
    write_keys(chunk, {chunk.latent, 0}, first_frame);
  }
  // Runs the network on what `chunk` was, for its keys and values alone.
  void write_keys(LiveChunk& chunk, const Written& from, int64_t first_frame) const;
  // If the step's residual is in host memory, begins to copy it back.
  void fetch(const Step& step) const;

  // ---- used by residuals
  StreamParts& parts() const { return parts_; }
  // Runs the network and returns the guided velocity. On a step that reuses attention, everything else runs.
  at::Tensor run_network(Step& step) const;
  // Fills in step.embedded, if it is empty.
  void embed(Step& step) const;
  // The tokens that the reused part begins with: after the first blocks if they always run, else the embedded
  // ones.
  const at::Tensor& begin_tokens(const Step& step, size_t branch) const;
  // Runs blocks [first, last) on one branch. The chunk's keys and values of these layers are in its slots
  // afterwards.
  at::Tensor run_blocks(const Step& step, size_t branch, const at::Tensor& tokens, int first, int last,
                        AttentionPass* attention = nullptr) const;
  // Begins these blocks where they run on another device; the branch's run_blocks() follows.
  std::unique_ptr<Transformer::Begun> begin_blocks(const Step& step, size_t branch, const at::Tensor& tokens,
                                                   int first, int last, AttentionPass* attention) const;
  // Moves the latent by a velocity [C, F, h, w].
  void integrate(Step& step, const at::Tensor& velocity) const;
  // The next draw of a chunk's noise [C, F, h, w].
  at::Tensor noise(LiveChunk& chunk) const;

 private:
  StreamParts& parts_;
  int64_t oldest_;
  const ComputedHook* hook_;
};

}  // namespace flowcache
