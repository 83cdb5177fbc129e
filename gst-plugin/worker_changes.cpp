// SPDX-License-Identifier: LGPL-2.1-or-later
// Changes that the worker's thread applies between two chunks.
#include <algorithm>
#include <utility>

#include "worker.h"

namespace flowcache::gst {

void FrameWorker::apply(fc_stream* stream, Changes changes) {
  if (changes.reset) apply_reset(stream, *changes.reset);
  if (changes.cache_threshold) {
    settle("cache-threshold", library_.stream_tune(stream, *changes.cache_threshold, FC_AUTO) == FC_OK);
  }
  if (changes.guidance_scale) {
    settle("guidance-scale", library_.stream_tune(stream, FC_AUTO, *changes.guidance_scale) == FC_OK);
  }
  if (changes.deadline) settle("qos", library_.stream_deadline(stream, *changes.deadline) == FC_OK);
  if (const auto& text = changes.negative_prompt;
      text && library_.stream_negative_prompt(stream, text->c_str()) != FC_OK) {
    listener_->change_refused("negative-prompt", last_error_of(library_));
  }
  for (const PromptChange& change : changes.overtaken) listener_->prompt_overtaken(change);
  if (changes.prompt) apply_prompt(stream, *changes.prompt, FC_NEXT_CHUNK);
  if (changes.forget_stream)
    std::erase_if(later_, [](const auto& waiting) { return waiting.second.from_stream; });
  if (changes.script) {
    std::erase_if(later_, [](const auto& waiting) { return waiting.second.scripted; });
    for (PromptChange& change : *changes.script) keep_for_later(std::move(change));
  }
  for (PromptChange& change : changes.later) keep_for_later(std::move(change));
  count_waiting();
}

// Reports a refusal once, until a value is accepted, because a controller sets a value at every frame.
void FrameWorker::settle(const char* what, bool accepted) {
  if (accepted) {
    refused_.erase(what);
  } else if (refused_.insert(what).second) {
    listener_->change_refused(what, last_error_of(library_));
  }
}

// Gives the engine only those cues of the script that are within reach, because encoding prompts takes time
// and a script may be long.
void FrameWorker::follow_script(fc_stream* stream) {
  for (; next_cue_ < options_.script.size() && options_.script[next_cue_].chunk <= reach(); ++next_cue_) {
    const ScriptedPrompt& cue = options_.script[next_cue_];
    apply_prompt(stream, PromptChange{cue.text, kNoTime, options_.script_blend_chunks}, cue.chunk);
  }
}

// Gives the engine the prompts whose time is within reach; of several for the same chunk, only the last.
void FrameWorker::follow_times(fc_stream* stream) {
  while (!later_.empty()) {
    const uint64_t chunk = std::max(next_chunk_, chunk_at(later_.begin()->first));
    if (chunk > reach()) return;
    const PromptChange change = std::move(later_.extract(later_.begin()).mapped());
    if (!later_.empty() && chunk_at(later_.begin()->first) <= chunk) {
      listener_->prompt_overtaken(change);
    } else {
      apply_prompt(stream, change, chunk);
    }
    count_waiting();
  }
}

void FrameWorker::count_waiting() {
  {
    std::lock_guard lock(mutex_);
    waiting_ = changes_.later.size();
    for (const auto& [time, change] : later_) waiting_ += change.scripted ? 0 : 1;
  }
  listener_->prompts_fewer();
}

// The first chunk whose frames are all shown at or after this time, as far as is known now. If a fed stream has not been
// fed so far yet, none.
uint64_t FrameWorker::chunk_at(uint64_t time) const {
  if (options_.fed) {
    std::lock_guard lock(mutex_);
    for (const auto& [chunk, fed] : fed_times_)
      if (chunk >= next_chunk_ && fed.time != kNoTime && fed.time >= time) return chunk;
    return UINT64_MAX;
  }
  uint64_t frame = next_chunk_ * options_.frames_per_chunk, due = kNoTime;
  {
    std::lock_guard lock(mutex_);
    due = due_;
    if (!ring_.empty()) frame = ring_.front()->info().chunk * options_.frames_per_chunk + next_index_;
  }
  const uint64_t first = frame + listener_->frames_until(time, due);
  return first / options_.frames_per_chunk + (first % options_.frames_per_chunk != 0 ? 1 : 0);
}

void FrameWorker::keep_for_later(PromptChange change) {
  const auto [place, is_new] = later_.try_emplace(change.at);
  if (!is_new) listener_->prompt_overtaken(place->second);
  place->second = std::move(change);
}

void FrameWorker::apply_prompt(fc_stream* stream, const PromptChange& change, uint64_t at_chunk) {
  fc_prompt_change request{};
  request.size = sizeof request;
  request.text = change.text.c_str();
  request.at_chunk = at_chunk;
  request.blend_chunks = change.blend_chunks;
  uint64_t ticket = 0;
  if (library_.stream_prompt(stream, &request, &ticket) != FC_OK) {
    listener_->change_refused("prompt", last_error_of(library_));
    return;
  }
  // Chunks in flight are already begun, so "at once", or a time in the past, may mean the chunk after them.
  const uint64_t by_chunk = at_chunk == FC_NEXT_CHUNK ? reach() : std::max(reach(), at_chunk);
  const bool from_script = at_chunk != FC_NEXT_CHUNK && change.at == kNoTime;
  handed_.push_back({ticket, by_chunk, change, from_script});
  listener_->prompt_received(
      {ticket, change.text, library_.stream_unknown_words(stream), change.blend_chunks, by_chunk});
}

// After a reset the engine forgets the prompts that wait for their chunk. A script starts over. Other
// prompts stay: they hold from their time on, or at once.
void FrameWorker::apply_reset(fc_stream* stream, uint64_t seed) {
  fc_status status = FC_OK;
  {
    const std::lock_guard feeding(feeding_);
    status = library_.stream_reset(stream, seed);
    std::lock_guard lock(mutex_);
    resetting_ = changes_.reset.has_value();  // another one has come meanwhile
  }
  wake_feed_.notify_all();
  if (status != FC_OK) {
    listener_->change_refused("reset", last_error_of(library_));
    return;
  }
  next_chunk_ = 0;
  next_cue_ = 0;
  listener_->stream_reset();
  std::optional<PromptChange> at_once;
  if (!options_.script.empty() && options_.script.front().chunk > 0) at_once = {options_.settings.prompt};
  for (const Handed& prompt : std::exchange(handed_, {})) {
    if (prompt.from_script) continue;
    if (prompt.change.at != kNoTime) {
      keep_for_later(prompt.change);
    } else {
      at_once = prompt.change;
    }
  }
  if (at_once) apply_prompt(stream, *at_once, FC_NEXT_CHUNK);
}

}  // namespace flowcache::gst
