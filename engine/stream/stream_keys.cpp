// SPDX-License-Identifier: LGPL-2.1-or-later
// What follows when the keys and values are gone, because the network's ranks have changed: they are made of the latents, which
// are all here.
#include "base/error.h"
#include "stream/stream.h"

namespace flowcache {

void Stream::keep_past() {
  if (!keeps_past_) recache_.reserve(parts_);
  keeps_past_ = true;
}

void Stream::make_stores_anew() {
  recache_.keys_are_lost(parts_);
  // A chunk may have been kept, and yet not be history in all branches.
  if (!live_.empty() && !live_.front()->in_history) recache_.take_back(live_.front()->index);
  parts_.kv.clear();  // before others are made: there may be no room for both
  try {
    parts_.kv = parts_.make_kv(parts_);
  } catch (const Error& error) {
    throw Error(error.status(), "the stream cannot go on with fewer devices: " + std::string(error.what()));
  }
  stores_lost_ = false;
  const std::lock_guard lock(stats_mutex_);
  stats_.kv_budget = stats_.kv_allocated = 0;
  for (const auto& kv : parts_.kv) {
    stats_.kv_budget += kv->budget_bytes();
    stats_.kv_allocated += kv->allocated_bytes();
  }
}

// After a failure or a cancellation the next call does the rest, or all of it.
void Stream::write_keys_anew() {
  if (stores_lost_) make_stores_anew();
  if (recache_.empty()) {
    for (const auto& kv : parts_.kv) kv->reset();
  } else {
    const ConditionPair conditions =
        live_.empty() ? conditions_->current(parts_.network) : live_.front()->conditions;
    const Recache::Cost cost = recache_.go_on(parts_, conditions, [this] { check_cancelled(); });
    if (!live_.empty()) {
      live_.front()->recached_chunks += cost.chunks;
      live_.front()->recache_seconds += cost.seconds;
      live_.front()->flops += cost.flops;
    }
  }
  // Older ones first: the others attend them.
  for (const auto& chunk : live_) {
    if (chunk->in_history) continue;
    for (const auto& kv : parts_.kv) kv->admit(chunk->index, parts_.first_frame(chunk->index));
    if (chunk->written.latent.defined())
      runner().write_keys(*chunk, chunk->written, parts_.first_frame(chunk->index));
  }
  context_changed();
  // What the policy has decided for this tick was about keys that are gone.
  for (size_t i = next_step_; tick_open_ && i < steps_.size(); ++i) {
    steps_[i].first_tokens = {};
    steps_[i].decision = {Action::compute, true, 0, 0};
  }
  keys_lost_ = false;
}

}  // namespace flowcache
