// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/conditions.h"

#include <utility>

namespace flowcache {

Conditions::Conditions(const LoadedModel& model, const std::string& prompt, const std::string& negative,
                       bool guided)
    : model_(model), prompts_(*model.text, prompt) {
  if (!guided) return;
  const std::string& used = negative.empty() ? model.package.negative_prompt : negative;
  check_prompt(used);
  negative_features_ = model.text->encode(used).embedding;
}

void Conditions::set_negative(const std::string& text) {
  check_prompt(text);
  const Handed features(model_.text->encode(text).embedding);
  const std::lock_guard lock(mutex_);
  new_negative_ = features;
}

// Conditions of another network are made anew.
void Conditions::use(const std::shared_ptr<const Transformer>& network) {
  if (network_ != network) positive_ = negative_ = nullptr;
  network_ = network;
}

ChunkConditions Conditions::take(int64_t chunk, const std::shared_ptr<const Transformer>& network) {
  const ChunkPrompt prompt = prompts_.take(chunk);
  use(network);
  if (prompt.changed) positive_ = nullptr;  // also if making it fails
  std::optional<Handed> negative;
  {
    const std::lock_guard lock(mutex_);
    negative = std::exchange(new_negative_, std::nullopt);
  }
  if (negative) {
    negative_features_ = negative->take();
    negative_ = nullptr;
  }
  begun_.changed |= prompt.changed || negative.has_value();
  begun_.cut |= prompt.cut;
  begun_.recache |= prompt.recache;
  begun_.ticket = prompt.ticket;
  if (!positive_) positive_ = network->condition(prompt.features);
  if (!negative_ && negative_features_.defined()) negative_ = network->condition(negative_features_);
  begun_.conditions = {positive_, negative_};
  return std::exchange(begun_, {});
}

ConditionPair Conditions::current(const std::shared_ptr<const Transformer>& network) {
  use(network);
  if (!negative_ && negative_features_.defined()) negative_ = network->condition(negative_features_);
  return {network->condition(prompts_.features()), negative_};
}

void Conditions::restart() {
  prompts_.restart();
  positive_ = nullptr;
  begun_ = {};
}

}  // namespace flowcache
