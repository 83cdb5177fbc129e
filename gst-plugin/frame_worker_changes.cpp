// SPDX-License-Identifier: LGPL-2.1-or-later
// What changes between two chunks, on the worker's thread.
#include <algorithm>

#include "frame_worker.h"

namespace flowcache::gst {

/// Hands over the cues that come within reach, and no more: encoding prompts takes time, and a script may be
/// long.
void FrameWorker::follow_script(fc_stream* stream) {
  const uint64_t reach = next_chunk_ + in_flight_;
  for (; next_cue_ < options_.script.size() && options_.script[next_cue_].chunk <= reach; ++next_cue_) {
    const ScriptedPrompt& cue = options_.script[next_cue_];
    apply(stream, PromptChange{cue.text, cue.chunk, options_.script_blend_chunks});
  }
}

void FrameWorker::apply(fc_stream* stream, const PromptChange& change) {
  fc_prompt_change request{};
  request.size = sizeof request;
  request.text = change.text.c_str();
  request.at_chunk = change.at_chunk;
  request.blend_chunks = change.blend_chunks;
  uint64_t ticket = 0;
  if (library_.stream_prompt(stream, &request, &ticket) != FC_OK) {
    listener_->change_refused("prompt", last_error_of(library_));
    return;
  }
  // Chunks in flight are begun, so "at once" and what is late may mean the one after them.
  const uint64_t soon = next_chunk_ + in_flight_;
  const uint64_t by_chunk = change.at_chunk == FC_NEXT_CHUNK ? soon : std::max(soon, change.at_chunk);
  listener_->prompt_received(
      {ticket, change.text, library_.stream_unknown_words(stream), change.blend_chunks, by_chunk});
}

void FrameWorker::apply(fc_stream* stream, const Tune& change) {
  if (library_.stream_tune(stream, change.cache_threshold, change.guidance_scale) != FC_OK) {
    listener_->change_refused("tune", last_error_of(library_));
  }
}

void FrameWorker::apply(fc_stream* stream, const NegativePrompt& change) {
  if (library_.stream_negative_prompt(stream, change.text.c_str()) != FC_OK) {
    listener_->change_refused("negative-prompt", last_error_of(library_));
  }
}

void FrameWorker::apply(fc_stream* stream, const Deadline& change) {
  if (library_.stream_deadline(stream, change.seconds) != FC_OK) {
    listener_->change_refused("qos", last_error_of(library_));
  }
}

void FrameWorker::apply(fc_stream* stream, const Reset& change) {
  if (library_.stream_reset(stream, change.seed) != FC_OK) {
    listener_->change_refused("reset", last_error_of(library_));
    return;
  }
  next_chunk_ = 0;
  next_cue_ = 0;
  listener_->stream_reset();
}

}  // namespace flowcache::gst
