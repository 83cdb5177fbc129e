// SPDX-License-Identifier: LGPL-2.1-or-later
// The conditions of a chunk: its prompt, and with guidance the negative prompt.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "stream/guidance.h"
#include "stream/loaded_model.h"
#include "stream/prompts.h"

namespace flowcache {

using ConditionPair = PerBranch<std::shared_ptr<const Condition>>;

struct ChunkConditions {
  ConditionPair conditions;  // the second is null without guidance
  uint64_t ticket = 0;       // the prompt's ticket
  bool changed = false;  // prompt or negative prompt differ from the chunk before, or a blend is under way
  bool cut = false;      // a new prompt begins here, without a blend
  bool recache = false;  // a new prompt begins here, and the history is to run once more under it
};

class Conditions {
 public:
  // `model` outlives this. negative: "" is the one of model.json. Throws FC_ERROR_ARGUMENT as check_prompt() does.
  Conditions(const LoadedModel& model, const std::string& prompt, const std::string& negative, bool guided);

  Prompts& prompts() { return prompts_; }  // any thread
  // Holds from the next chunk on. Only with guidance. Throws FC_ERROR_ARGUMENT as check_prompt() does. Any
  // thread.
  void set_negative(const std::string& text);

  // The conditions of a chunk that begins, for its network. If it throws, it may be called again for the same chunk.
  ChunkConditions take(int64_t chunk, const std::shared_ptr<const Transformer>& network);
  // The conditions in force now, for the rehearsal.
  ConditionPair current(const std::shared_ptr<const Transformer>& network);
  void restart();

 private:
  void use(const std::shared_ptr<const Transformer>& network);

  const LoadedModel& model_;
  Prompts prompts_;
  std::shared_ptr<const Transformer> network_;  // that made the next two
  std::shared_ptr<const Condition> positive_, negative_;
  at::Tensor negative_features_;  // undefined without guidance
  ChunkConditions begun_;         // what a take() that has thrown has found
  std::mutex mutex_;
  std::optional<Handed> new_negative_;  // features that wait for the next chunk; guarded by mutex_
};

}  // namespace flowcache
