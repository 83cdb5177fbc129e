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
  negative_ = model.transformer->condition(model.text->encode(used).embedding);
}

void Conditions::set_negative(const std::string& text) {
  check_prompt(text);
  const Handed features(model_.text->encode(text).embedding);
  const std::lock_guard lock(mutex_);
  new_negative_ = features;
}

ChunkConditions Conditions::take(int64_t chunk) {
  const ChunkPrompt prompt = prompts_.take(chunk);
  if (prompt.changed) positive_ = nullptr;  // also if making it fails
  if (!positive_) positive_ = model_.transformer->condition(prompt.features);
  std::optional<Handed> negative;
  {
    const std::lock_guard lock(mutex_);
    negative = std::exchange(new_negative_, std::nullopt);
  }
  if (negative) negative_ = model_.transformer->condition(negative->take());
  return {{positive_, negative_},
          prompt.ticket,
          prompt.changed || negative.has_value(),
          prompt.cut,
          prompt.recache};
}

void Conditions::restart() {
  prompts_.restart();
  positive_ = nullptr;
}

}  // namespace flowcache
