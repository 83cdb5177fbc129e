// SPDX-License-Identifier: LGPL-2.1-or-later
// What follows a chunk's last step: it becomes history and is decoded.
#include <optional>

#include "base/error.h"
#include "stream/stream.h"

namespace flowcache {
namespace {

// The mean squared difference of two latents of a chunk, for each token: [tokens]. Undefined if one of them is.
at::Tensor token_change(const at::Tensor& one, const at::Tensor& other, const TransformerShape& shape) {
  if (!one.defined() || !other.defined()) return {};
  const at::Tensor error = (one - other).square().mean(0);  // [F, h, w]
  return error.unfold(1, shape.patch_height, shape.patch_height)
      .unfold(2, shape.patch_width, shape.patch_width)
      .mean({3, 4})
      .flatten();
}

// Whether all values of a chunk's latent are finite. On a GPU the answer is there when the steps are done, so the chunk's
// other work is begun before it is read.
class FiniteCheck {
 public:
  // Throws what read() throws, if the answer is there at once.
  explicit FiniteCheck(const LiveChunk& chunk) : index_(chunk.index) {
    at::Tensor finite = chunk.latent.isfinite().all();
    if (finite.is_cuda()) {
      answer_ = at::empty({}, at::TensorOptions().dtype(at::kBool).pinned_memory(true));
      answer_.copy_(finite, /*non_blocking=*/true);
      there_ = Mark::here(finite.device());
      return;
    }
    answer_ = finite;
    read();
    answer_ = at::Tensor();
  }
  // Waits for the chunk's steps, if the answer was not there at once. Throws FC_ERROR_MODEL if a value is not finite.
  void read() const {
    if (!answer_.defined()) return;
    there_.wait();
    if (!answer_.item<bool>())
      throw Error(FC_ERROR_MODEL,
                  "chunk " + std::to_string(index_) +
                      " contains values that are not finite: the weights are damaged or do not "
                      "fit this precision; try precision=fp32");
  }

 private:
  int64_t index_;
  at::Tensor answer_;
  Mark there_;
};

}  // namespace

std::shared_ptr<Chunk> Stream::finish(LiveChunk& chunk) {
  std::optional<FiniteCheck> finite;
  if (!chunk.in_history) {
    finite.emplace(chunk);
    become_history(chunk);
  }
  const std::shared_ptr<Chunk> result = decode(chunk);
  result->seed = parts_.seed;
  result->prompt_ticket = chunk.prompt_ticket;
  result->decisions = std::move(chunk.decisions);
  result->threshold = threshold_;
  result->flops = chunk.flops;
  result->recached_chunks = chunk.recached_chunks;
  result->recache_seconds = chunk.recache_seconds;
  result->lora_ticket = chunk.lora_ticket;
  result->lora_seconds = chunk.lora_seconds;
  result->strength = chunk.strength;
  result->governor_level =
      deadline_->level_of(count_computed(result->decisions), static_cast<int>(result->decisions.size()));
  live_.pop_front();  // destroys `chunk`
  if (finite) finite->read();
  decoding_->keep_up();  // behind the steps, in whose time it should long be done

  const std::lock_guard lock(stats_mutex_);
  ++stats_.chunks;
  stats_.last_decode_seconds = decoding_->last_seconds();
  stats_.kv_bytes = stats_.kv_allocated = 0;
  for (const auto& kv : parts_.kv) {
    stats_.kv_bytes += kv->history_bytes();
    stats_.kv_allocated += kv->allocated_bytes();
  }
  result->kv_bytes = stats_.kv_bytes;
  result->kv_budget = stats_.kv_budget;
  return result;
}

void Stream::become_history(LiveChunk& chunk) {
  const double flops = chunk.flops;
  // Where no step ran, nothing has written its keys.
  const bool no_step = chunk.first_step >= parts_.schedule.steps_of(chunk.index);
  try {
    if ((parts_.clean_context || no_step) && !chunk.is_clean)
      runner().run_clean(chunk, parts_.first_frame(chunk.index));
  } catch (...) {
    chunk.flops = flops;  // all of it runs again
    throw;
  }
  chunk.is_clean = true;
  const uint64_t held = reuse_bytes();  // now it is largest; most of it is freed below
  move_to_history(chunk);
  chunk.in_history = true;
  parts_.policy->end_chunk(chunk.index);
  parts_.guidance.end_chunk(chunk.index);
  if (chunk.context_changed) context_changed();
  const std::lock_guard lock(stats_mutex_);
  stats_.reuse_bytes = held;
}

// The chunk as it leaves the stream, with its frames, and the latent that was decoded.
std::shared_ptr<Chunk> Stream::decode(LiveChunk& chunk) {
  const Interruptible never(nullptr);  // the decoder remembers what it has seen, and must see each chunk once
  const auto result = std::make_shared<Chunk>(decoding_->host_wish());
  InitialFrames* const initial = parts_.initial_frames.get();
  result->latent = initial ? initial->finished(chunk.index, chunk.latent) : chunk.latent;
  result->index = chunk.index;
  // What is shown as it was fed has no seam of this stream's making.
  const bool as_fed = chunk.first_step >= parts_.schedule.steps_of(chunk.index);
  decoding_->decode(result->latent, initial, chunk.is_cut || as_fed, *result);
  return result;
}

// What the KV policy wants the chunk's final latent compared with.
at::Tensor Stream::compared_latent(const LiveChunk& chunk) const {
  if (!parts_.kv.front()->policy().needs_drift()) return chunk.estimate;
  const bool begins = chunk.is_cut || !previous_latent_.defined();
  return begins ? chunk.latent : previous_latent_;
}

// A branch that is done is not done again, when another one has failed.
void Stream::move_to_history(LiveChunk& chunk) {
  try {
    if (!chunk.change.defined())
      chunk.change = token_change(chunk.latent, compared_latent(chunk), parts_.model->transformer->shape());
    for (size_t branch = 0; branch < parts_.kv.size(); ++branch) {
      KvStore& kv = *parts_.kv[branch];
      if (!kv.is_in_flight(chunk.index)) continue;
      if (watch_history_) watch_history_(branch);
      chunk.context_changed |= kv.finish(chunk.index, chunk.change);
    }
    if (keeps_past_) recache_.keep(parts_, chunk.index, chunk.written, chunk.change);
    if (parts_.kv.front()->policy().needs_drift()) previous_latent_ = chunk.latent;
  } catch (const Error& error) {
    if (error.status() != FC_ENDED) throw;
    ended_ = error.what();  // this chunk is complete; the next call throws the reason why there is no other
  }
}

// R5: the chunks in flight attend another context than the one they were computed with.
void Stream::context_changed() {
  for (const auto& other : live_) {
    if (other->in_history) continue;
    parts_.policy->context_changed(other->index);
    other->must_compute |= parts_.policy->recompute_on_context_change();
    if (!parts_.residual->tied_to_context()) continue;
    other->drop_residuals();
    parts_.policy->residuals_dropped(other->index);
  }
}

void Stream::forget_across(int64_t chunk) {
  if (!parts_.policy->across_chunks()) return;
  parts_.across.assign(parts_.across.size(), {});
  parts_.policy->residuals_dropped(chunk);
}

}  // namespace flowcache
