// SPDX-License-Identifier: LGPL-2.1-or-later
// Settings that callers change while a stream runs, and the statistics that they read.
#include <algorithm>

#include "base/error.h"
#include "stream/stream.h"
#include "stream/work.h"

namespace flowcache {

void Stream::reset(uint64_t seed) {
  const Work work(*parts_.model, *lane_);
  // This may throw; then nothing has changed.
  std::unique_ptr<DecoderState> decoder_state = decoding_->fresh();
  parts_.seed = seed;
  if (parts_.initial_frames) parts_.initial_frames->reseed(seed);
  ended_.clear();
  tick_open_ = false;
  tick_ = 0;
  steps_.clear();
  next_step_ = 0;
  live_.clear();
  taken_.reset();
  learned_is_old_ = false;
  parts_.policy->reset();
  parts_.guidance.reset();
  parts_.across.assign(parts_.across.size(), {});
  deadline_->restart();
  timer_.restart();
  if (deadline_->steers_threshold()) threshold_ = deadline_->threshold();
  if (parts_.graphs) parts_.graphs->forget();
  for (const auto& kv : parts_.kv) kv->reset();
  previous_latent_ = at::Tensor();
  recache_.forget();
  conditions_->restart();
  loras_->restart();
  decoding_->restart(std::move(decoder_state));
  feed_->restart();
  const std::lock_guard lock(stats_mutex_);
  stats_.chunks = stats_.steps_computed = stats_.steps_reused = stats_.forced_computes = 0;
  stats_.kv_bytes = stats_.reuse_bytes = 0;
  stats_.last_chunk_seconds = stats_.last_decode_seconds = 0;
}

uint64_t Stream::prompt(const std::string& text, uint64_t at_chunk, uint32_t blend_chunks) {
  if (blend_chunks == FC_PROMPT_RECACHE && !recache_problem_.empty())
    throw Error(FC_ERROR_ARGUMENT, recache_problem_);
  const Work work(*parts_.model, parts_.model->lane_of_text());
  return prompts().change(text, at_chunk, blend_chunks);
}

uint64_t Stream::lora(const std::string& list, uint64_t at_chunk) {
  return loras_->change(list, at_chunk);
}

void Stream::tune(double threshold, double guidance) {
  if (threshold >= 0 && deadline_->steers_threshold())
    throw Error(
        FC_ERROR_ARGUMENT,
        "cache_threshold=" + std::to_string(threshold) +
            " cannot be set while a deadline steers it: open the stream with the policy itself, not auto");
  if (threshold >= 0) threshold_ = check_threshold(threshold);
  if (guidance < 0) return;
  check_guidance(guidance);
  if (parts_.guidance.branches() == 1 && guidance != 1)
    throw Error(FC_ERROR_ARGUMENT,
                "guidance_scale=" + std::to_string(guidance) +
                    " needs a second branch, but this stream was opened with 1: open it with another value");
  scale_ = guidance;
  scale_changed_ = true;
}

void Stream::negative_prompt(const std::string& text) {
  if (parts_.guidance.branches() == 1)
    throw Error(FC_ERROR_ARGUMENT,
                "a negative prompt needs guidance: open the stream with a guidance_scale other than 1");
  const Work work(*parts_.model, parts_.model->lane_of_text());
  conditions_->set_negative(text);
}

StreamStats Stream::stats() const {
  const std::lock_guard lock(stats_mutex_);
  StreamStats copy = stats_;
  copy.threshold = threshold_;
  copy.guidance = scale_;
  copy.step_layers = step_layers_;
  if (copy.step_layers > 0)
    copy.step_layers_reached = static_cast<int>(
        std::min<uint64_t>(interruption_.layers - step_began_, static_cast<uint64_t>(copy.step_layers)));
  copy.deadline_seconds = deadline_->seconds();
  const DeadlineReport report = deadline_->report();
  copy.governor_level = report.level;
  copy.steps_allowed = report.steps_allowed;
  copy.least_seconds = report.least_seconds;
  if (parts_.model->ranks) copy.devices = parts_.model->ranks->count();
  return copy;
}

}  // namespace flowcache
