// SPDX-License-Identifier: LGPL-2.1-or-later
// How a chunk begins: its noise or what it is fed with, its prompt, its network, its place in the KV cache.
#include "stream/stream.h"

namespace flowcache {

void Stream::admit(int64_t index) {
  auto chunk = std::make_unique<LiveChunk>();
  chunk->index = index;
  // If other chunks in flight attend this one, its keys and values must be written, so its first step is
  // computed.
  chunk->must_compute = !parts_.policy->across_chunks() || parts_.schedule.chunks_in_flight() > 1;
  chunk->sampler = parts_.sampler_of(index).begin_chunk();
  begin_latent(*chunk);
  use_network(*chunk);
  if (!taken_ || taken_->first != index) taken_.emplace(index, conditions_->take(index, chunk->network));
  const ChunkConditions own = taken_->second;
  chunk->conditions = own.conditions;
  chunk->prompt_ticket = own.ticket;
  chunk->is_cut = own.cut;
  if (own.cut && forgets_on_cut_) {
    bool dropped = false;
    for (const auto& kv : parts_.kv) dropped |= kv->forget_history();
    recache_.forget();
    if (dropped) context_changed();
  }
  // R7: it was computed under other conditions, or at other noise levels.
  if (own.changed || (index == 1 && parts_.first_sampler)) forget_across(index);
  if (own.recache) recache_.want();
  if (recache_.wanted()) run_history_again(*chunk);
  if (parts_.initial_frames && index == 0) {
    parts_.initial_frames->fill_history(*chunk->network, parts_.kv,
                                        std::span(chunk->conditions).first(parts_.kv.size()));
    if (keeps_past_) recache_.keep_given(parts_);
    decoding_->run_prefix(*parts_.initial_frames);
  }
  for (const auto& kv : parts_.kv) kv->admit(index, parts_.first_frame(index));
  chunk->watch = Stopwatch();
  timer_.begin_chunk();
  taken_.reset();
  live_.push_back(std::move(chunk));
  feed_->begun();
}

// The latent that the chunk's first step starts from.
void Stream::begin_latent(LiveChunk& chunk) {
  const at::Tensor noise = runner().noise(chunk);
  const std::optional<Fed> fed = feed_->next();
  if (!fed) {
    chunk.latent = noise;
    return;
  }
  const StepTable& table = parts_.sampler_of(chunk.index).table();
  chunk.strength = fed->strength;
  chunk.first_step = begin_step(fed->strength, table.steps());
  const at::Tensor clean = fed->latent.take();
  chunk.latent = begun_at(clean, noise, table, chunk.first_step);
  if (chunk.first_step > 0 && parts_.schedule.chunks_in_flight() > 1) chunk.unseen = clean;
}

// A fed chunk waits for its first step. The chunks in flight behind it attend it meanwhile, as it was fed.
void Stream::write_keys_as_fed(LiveChunk& chunk) {
  LiveChunk clean;
  clean.index = chunk.index;
  clean.latent = chunk.unseen;
  clean.network = chunk.network;
  clean.conditions = chunk.conditions;
  runner().run_clean(clean, parts_.first_frame(chunk.index));
  chunk.flops += clean.flops;
  chunk.unseen = at::Tensor();
}

// R7: a chunk keeps its network until it ends, so what is kept within it fits. What is kept across chunks goes by its
// conditions, which belong to a network (StepRunner::ask()), and what the policy has learned is forgotten once no chunk of
// the other network is left.
void Stream::use_network(LiveChunk& chunk) {
  const ChunkNetwork own = loras_->take(chunk.index);
  chunk.network = own.network;
  chunk.lora_ticket = own.ticket;
  chunk.lora_seconds = own.seconds;
  if (chunk.network == parts_.network) return;
  parts_.network = chunk.network;
  taken_.reset();
  if (parts_.graphs) parts_.graphs->forget();
  learned_is_old_ = true;
  forget_learned();
}

void Stream::forget_learned() {
  if (!learned_is_old_) return;
  for (const auto& chunk : live_)
    if (chunk->network != parts_.network) return;
  learned_is_old_ = false;
  parts_.policy->reset();
  for (const auto& chunk : live_) {
    chunk->must_compute = true;
    chunk->drop_residuals();
  }
}

// No other chunk is in flight. After a cancellation the chunk is admitted again, and this goes on.
void Stream::run_history_again(LiveChunk& chunk) {
  const Recache::Cost cost = recache_.go_on(parts_, chunk.conditions, [this] { check_cancelled(); });
  chunk.recached_chunks = cost.chunks;
  chunk.recache_seconds = cost.seconds;
  chunk.flops += cost.flops;
}

}  // namespace flowcache
