// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/prompts.h"

#include <algorithm>

#include "base/error.h"
#include "base/unicode.h"

namespace flowcache {

void check_prompt(const std::string& text) {
  if (text.size() > max_prompt_bytes)
    throw Error(FC_ERROR_ARGUMENT, "the prompt has " + std::to_string(text.size()) + " bytes, the limit is " +
                                       std::to_string(max_prompt_bytes) + ": shorten it");
  if (const auto bad = first_bad_byte(text))
    throw Error(FC_ERROR_ARGUMENT,
                "the prompt is not valid UTF-8 at byte " + std::to_string(*bad) + ": convert it to UTF-8");
}

Prompts::Prompts(const TextEncoder& encoder, const std::string& first) : encoder_(encoder) {
  check_prompt(first);
  TextFeatures features = encoder_.encode(first);
  current_.features = Handed(features.embedding);
  unknown_ = std::move(features.unknown);
}

uint64_t Prompts::change(const std::string& text, uint64_t at_chunk, uint32_t blend_chunks) {
  check_prompt(text);
  TextFeatures features = encoder_.encode(text);
  const std::lock_guard lock(mutex_);
  unknown_ = std::move(features.unknown);
  Change change;
  change.ticket = ++last_ticket_;
  const bool next = at_chunk == FC_NEXT_CHUNK || at_chunk > INT64_MAX;
  change.at_chunk = next ? next_chunk_ : std::max(next_chunk_, static_cast<int64_t>(at_chunk));
  change.recache = blend_chunks == FC_PROMPT_RECACHE;
  change.blend_chunks = change.recache ? 0 : blend_chunks;
  change.features = Handed(features.embedding);
  std::erase_if(queued_, [&](const Change& other) { return other.at_chunk == change.at_chunk; });
  const auto later = std::find_if(queued_.begin(), queued_.end(),
                                  [&](const Change& other) { return other.at_chunk > change.at_chunk; });
  queued_.insert(later, change);
  return change.ticket;
}

ChunkPrompt Prompts::take(int64_t chunk) {
  const std::lock_guard lock(mutex_);
  ChunkPrompt result;
  while (!queued_.empty() && queued_.front().at_chunk <= chunk) {
    // What the last chunk had, which may itself be in a blend.
    const at::Tensor from = shown_.defined() ? shown_ : current_.features.take();
    blend_from_ = queued_.front().blend_chunks > 0 ? from : at::Tensor();
    current_ = queued_.front();
    current_.at_chunk = chunk;
    queued_.erase(queued_.begin());
    result.changed = true;
    result.recache = current_.recache;
    result.cut = !blend_from_.defined() && !result.recache;
  }
  next_chunk_ = chunk + 1;
  result.ticket = current_.ticket;
  result.features = current_.features.take();
  if (blend_from_.defined()) {
    // In a blend over n chunks the first one already has 1/(n+1) of the new prompt, so that the change is
    // seen.
    const double weight =
        static_cast<double>(chunk - current_.at_chunk + 1) / (static_cast<double>(current_.blend_chunks) + 1);
    result.changed = true;
    if (weight < 1) {
      const int64_t rows = std::max(blend_from_.size(0), result.features.size(0));
      const auto padded = [rows](const at::Tensor& t) {
        return at::constant_pad_nd(t, {0, 0, 0, rows - t.size(0)});
      };
      result.features = at::lerp(padded(blend_from_), padded(result.features), weight);
    } else {
      blend_from_ = at::Tensor();
    }
  }
  shown_ = result.features;
  return result;
}

at::Tensor Prompts::features() const {
  const std::lock_guard lock(mutex_);
  return current_.features.take();
}

void Prompts::restart() {
  const std::lock_guard lock(mutex_);
  queued_.clear();
  blend_from_ = shown_ = at::Tensor();
  current_.blend_chunks = 0;
  current_.at_chunk = 0;
  next_chunk_ = 0;
}

std::vector<std::string> Prompts::unknown_words() const {
  const std::lock_guard lock(mutex_);
  return unknown_;
}

}  // namespace flowcache
