// SPDX-License-Identifier: LGPL-2.1-or-later
// What a chunk is conditioned on: the prompt of its time, and with guidance what it is led away from.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "stream/guidance.h"
#include "stream/loaded_model.h"
#include "stream/prompts.h"

namespace flowcache {

using ConditionPair = PerBranch<std::shared_ptr<const Condition>>;

struct ChunkConditions {
  ConditionPair conditions;  // the second is null without guidance
  uint64_t ticket = 0;       // of the prompt
  bool changed = false;      // another prompt or negative prompt than the chunk before, or on the way to one
  bool cut = false;          // begins another prompt without a transition
};

class Conditions {
 public:
  // model: outlives this. Throws FC_ERROR_ARGUMENT for prompts that are none.
  Conditions(const LoadedModel& model, const std::string& prompt, const std::string& negative, bool guided);

  Prompts& prompts() { return prompts_; }  // any thread
  // From the next chunk on. Only with guidance. Throws FC_ERROR_ARGUMENT. Any thread.
  void set_negative(const std::string& text);

  // Of a chunk that begins.
  ChunkConditions take(int64_t chunk);
  // As they stand now, for trying the network out.
  ConditionPair current() const { return {model_.transformer->condition(prompts_.features()), negative_}; }
  void restart();

 private:
  const LoadedModel& model_;
  Prompts prompts_;
  std::shared_ptr<const Condition> positive_, negative_;
  std::mutex mutex_;
  at::Tensor new_negative_;  // features given since the last chunk began; guarded by mutex_
};

}  // namespace flowcache
