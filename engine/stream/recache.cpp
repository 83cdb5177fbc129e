// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/recache.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stopwatch.h"
#include "cache/kv/rebase.h"
#include "stream/device.h"
#include "stream/step.h"

namespace flowcache {
namespace {

// The most chunks whose latents are kept. A sink and a window that end within chunks touch one more than the budget holds.
size_t most_kept(const StreamParts& parts) {
  const int64_t budget = parts.kv.front()->budget_tokens();
  const int64_t chunk = parts.model->tokens_per_chunk(parts.size);
  return static_cast<size_t>((budget + chunk - 1) / chunk + 1);
}

// KvStore::held_chunks() of all branches together.
std::map<int64_t, int64_t> held_chunks(const StreamParts& parts) {
  std::map<int64_t, int64_t> all;
  for (const auto& kv : parts.kv)
    for (const auto& [frame, tokens] : kv->held_chunks()) all[frame] += tokens;
  return all;
}

}  // namespace

std::string recache_problem(const StreamParts& parts) {
  const std::string instead = "; blend the prompt in over some chunks instead (blend_chunks=2)";
  if (!parts.clean_context)
    return "a re-cache runs finished chunks once more, clean, and this stream has no clean pass "
           "(clean_context), because its model was not trained with one" +
           instead;
  const int in_flight = parts.schedule.chunks_in_flight();
  if (in_flight > 1)
    return "a re-cache makes the history anew between two chunks, and this stream has " +
           std::to_string(in_flight) + " chunks in flight (lag=" + std::to_string(parts.schedule.lag()) +
           " of " + std::to_string(parts.schedule.steps()) +
           " steps): open it with lag=" + std::to_string(parts.schedule.steps()) + ", or" + instead.substr(1);
  return "";
}

void Recache::reserve(const StreamParts& parts) {
  std::vector<int64_t> shape = parts.latent_shape();
  shape.insert(shape.begin(), static_cast<int64_t>(most_kept(parts)) + 1);
  rows_ = at::empty(shape, at::TensorOptions(parts.model->device).dtype(at::kFloat));
}

// A copy in a row that no other chunk has.
at::Tensor Recache::kept(const at::Tensor& latent) const {
  for (int64_t i = 0; i < rows_.size(0); ++i) {
    at::Tensor row = rows_[i];
    const auto taken = [&](const Past& one) {
      const at::Tensor& own = one.written.latent;
      return own.defined() && own.const_data_ptr() == row.const_data_ptr();
    };
    if (std::none_of(past_.begin(), past_.end(), taken)) return row.copy_(latent);
  }
  throw Error(FC_ERROR_INTERNAL, "re-cache: more chunks are kept than were reserved for");
}

void Recache::keep(const StreamParts& parts, int64_t index, const Written& written,
                   const at::Tensor& change) {
  past_.push_back({index, parts.first_frame(index), {kept(written.latent), written.timestep}, change});
  if (past_.size() > most_kept(parts)) drop_least(parts);
}

void Recache::forget() {
  past_.clear();
  wanted_ = begun_ = sifted_ = false;
  done_ = 0;
  cost_ = {};
}

void Recache::keep_given(const StreamParts& parts) {
  past_.clear();  // of a call that failed
  const int64_t given = parts.initial_frames ? parts.initial_frames->whole_chunks() : 0;
  for (int64_t index = -given; index < 0; ++index) past_.push_back({index, parts.first_frame(index), {}, {}});
}

void Recache::take_back(int64_t index) {
  std::erase_if(past_, [&](const Past& one) { return one.index >= index; });
}

void Recache::sift(std::map<int64_t, int64_t> held) {
  std::erase_if(past_, [&](const Past& one) { return held[one.first_frame] == 0; });
  sifted_ = true;
}

// What the branches hold is of the same chunks, and the first one's is known here.
void Recache::keys_are_lost(const StreamParts& parts) {
  if (!begun_ && !sifted_ && !parts.kv.empty()) sift(parts.kv.front()->held_chunks());
  begun_ = false;
}

// Of chunks that have as many tokens in the history the oldest goes first.
void Recache::drop_least(const StreamParts& parts) {
  auto held = held_chunks(parts);
  while (past_.size() > most_kept(parts))
    past_.erase(std::min_element(past_.begin(), past_.end(), [&](const Past& a, const Past& b) {
      return held[a.first_frame] < held[b.first_frame];
    }));
}

// Empties the history. Where the cache moves keys in time, the older chunks move up to the newer ones before they run,
// because it is between chunks only that it moves them.
void Recache::begin(const StreamParts& parts) {
  if (!begun_ && !sifted_) sift(held_chunks(parts));
  if (const std::optional<int64_t> reach = parts.kv.front()->reach()) {
    const int64_t length = parts.model->package.latent_frames_per_chunk;
    std::vector<int64_t> frames;
    for (const Past& one : past_)
      for (int64_t i = 0; i < length; ++i) frames.push_back(one.first_frame + i);
    const std::vector<int64_t> moved = positions_within(frames, *reach);
    for (size_t i = 0; i < past_.size(); ++i) past_[i].first_frame = moved[i * static_cast<size_t>(length)];
  }
  for (const auto& kv : parts.kv) kv->reset();
  begun_ = true;
  done_ = 0;
}

Recache::Cost Recache::go_on(StreamParts& parts, const ConditionPair& conditions,
                             const std::function<void()>& check) {
  wait_for(parts.model->device);  // what the chunk before has left
  const Stopwatch watch;
  if (!begun_) begin(parts);
  while (done_ < past_.size()) {
    try {
      check();
    } catch (...) {
      cost_.seconds += watch.seconds();
      throw;
    }
    try {
      cost_.flops += run(parts, conditions, past_[done_]);
    } catch (...) {
      begin(parts);
      cost_.seconds += watch.seconds();
      throw;
    }
    ++done_;
    ++cost_.chunks;
  }
  wait_for(parts.model->device);
  cost_.seconds += watch.seconds();
  wanted_ = begun_ = sifted_ = false;
  return std::exchange(cost_, {});
}

// Returns the floating-point operations, as far as they are counted.
double Recache::run(StreamParts& parts, const ConditionPair& conditions, const Past& past) const {
  LiveChunk chunk;
  chunk.index = past.index;
  chunk.latent = past.written.latent;
  chunk.network = parts.network;
  chunk.conditions = conditions;
  for (const auto& kv : parts.kv) kv->admit(past.index, past.first_frame);
  if (past.written.latent.defined())
    StepRunner(parts, past.index).write_keys(chunk, past.written, past.first_frame);
  else
    parts.initial_frames->run_chunk(*parts.network, past.index + parts.initial_frames->whole_chunks(),
                                    past.first_frame, parts.kv, std::span(conditions).first(parts.kv.size()));
  for (const auto& kv : parts.kv) kv->finish(past.index, past.change);
  return chunk.flops;
}

uint64_t Recache::bytes() const {
  uint64_t bytes = 0;
  for (const Past& one : past_)
    for (const at::Tensor* kept : {&one.written.latent, &one.change})
      bytes += kept->defined() ? kept->nbytes() : 0;
  return bytes;
}

}  // namespace flowcache
