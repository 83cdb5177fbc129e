// SPDX-License-Identifier: LGPL-2.1-or-later
// One step of one chunk in flight: what the policy is asked, and computing or reusing.
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
  Embedded embedded;                   // filled when something needs it
  PerBranch<at::Tensor> first_tokens;  // behind the policy's first blocks, if it looks at them

  bool reuses() const { return decision.action == Action::reuse; }
};

// Told every computed step and its guided velocity [C, F, h, w], on the driving thread.
using ComputedHook = std::function<void(const ChunkStep&, const at::Tensor& velocity)>;

// Runs steps with a stream's parts. Cheap to make; keeps no state of its own.
class StepRunner {
 public:
  // oldest: index of the oldest chunk in flight. hook: may be null. Both objects outlive this.
  StepRunner(StreamParts& parts, int64_t oldest, const ComputedHook* hook = nullptr)
      : parts_(parts), oldest_(oldest), hook_(hook) {}

  // Fills the question with all that the policy looks at.
  void ask(Step& step) const;
  // Runs the network. Returns the guided velocity [C, F, h, w].
  at::Tensor compute(Step& step) const;
  // After compute(): keeps what later steps reuse, and moves the latent.
  void advance(Step& step, const at::Tensor& velocity) const;
  // Moves the latent by what was kept instead.
  void reuse(Step& step) const;
  // Runs a finished chunk once more, clean, for its keys and values.
  void run_clean(LiveChunk& chunk) const;
  // What this step will want begins to come, if it waits elsewhere.
  void fetch(const Step& step) const;

  // ---- for residuals
  StreamParts& parts() const { return parts_; }
  // The guided velocity of all that has to run: everything, or on a step that reuses attention the rest.
  at::Tensor run_network(Step& step) const;
  // Fills step.embedded.
  void embed(Step& step) const;
  // The tokens that reuse begins with: behind the first blocks that always run, else the embedded ones.
  const at::Tensor& begin_tokens(const Step& step, size_t branch) const;
  // Blocks [first, last) on one branch; leaves the chunk's keys and values of those layers in its slots.
  at::Tensor run_blocks(const Step& step, size_t branch, const at::Tensor& tokens, int first, int last,
                        AttentionPass* attention = nullptr) const;
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
