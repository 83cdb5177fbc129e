// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/kv_store.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <deque>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/interruption.h"
#include "base/words.h"
#include "cache/kv/compact.h"
#include "cache/kv/kv_int8.h"
#include "cache/kv/rebase.h"

namespace flowcache {
namespace {

[[noreturn]] void defect(const std::string& what) {
  throw Error(FC_ERROR_INTERNAL, "KV store: " + what);
}

// Of the history and a chunk that has finished.
int64_t movable_tokens(const KvGeometry& g, int64_t budget_tokens, const KvPolicy& policy) {
  const int64_t most = budget_tokens + g.tokens_per_chunk;
  return std::min(most, policy.movable(g.tokens_per_frame, most));
}

// Of two tensors of one shape.
bool same_memory(const at::Tensor& a, const at::Tensor& b) {
  return a.const_data_ptr() == b.const_data_ptr() && a.strides() == b.strides();
}

}  // namespace

KvPrecision choose_kv_precision(const std::string& name) {
  if (name.empty() || name == "auto" || name == "full") return KvPrecision::full;
  if (name == "int8") return KvPrecision::int8;
  throw Error(FC_ERROR_ARGUMENT, "kv_precision \"" + name + "\" is unknown; use auto, full or int8");
}

uint64_t KvGeometry::bytes(int64_t tokens) const {
  if (precision == KvPrecision::full) return bytes_in_flight(tokens);
  return static_cast<uint64_t>(layers) * kv_heads * tokens * Int8History::bytes_of_token(head_dim);
}

uint64_t KvGeometry::bytes_in_flight(int64_t tokens) const {
  return 2 * static_cast<uint64_t>(layers) * kv_heads * tokens * head_dim * c10::elementSize(dtype);
}

std::optional<int64_t> kv_reach(const KvGeometry& g, const KvPolicy& policy) {
  const Positions positions = policy.positions();
  if (positions == Positions::absolute || policy.movable(g.tokens_per_frame, INT64_MAX) == 0) return {};
  if (positions == Positions::relative) return 0;
  if (g.trained_frames == 0 || g.time_frequencies.empty()) return {};
  const int64_t in_flight = g.window_chunks * (g.tokens_per_chunk / g.tokens_per_frame);
  return std::max<int64_t>(0, g.trained_frames - in_flight);
}

KvNeeds kv_needs(const KvGeometry& g, int64_t budget_tokens, const KvPolicy& policy) {
  const int64_t in_flight = g.window_chunks * g.tokens_per_chunk;
  const uint64_t number = c10::elementSize(g.dtype), layers = g.layers;
  const bool small = g.precision == KvPrecision::int8, moves_through_scratch = !g.device.is_cpu();
  // One layer's keys of so many tokens.
  const auto keys = [&](int64_t tokens) { return g.kv_heads * tokens * g.head_dim * number; };
  KvNeeds needs{.history = g.bytes(budget_tokens), .in_flight = g.bytes_in_flight(in_flight)};
  if (g.device.is_cpu())  // where each token comes from; beside a GPU the host has it
    needs.scratch = layers * g.kv_heads * (budget_tokens + in_flight) * sizeof(int64_t);
  if (small) {
    needs.scratch += 2 * keys(budget_tokens + in_flight);
  } else {
    if (moves_through_scratch) needs.scratch += keys(budget_tokens + in_flight);
    if (kv_reach(g, policy))
      needs.scratch += (layers + moves_through_scratch) * g.kv_heads * RebasedKeys::width(g) * number *
                       movable_tokens(g, budget_tokens, policy);
  }
  if (policy.needs_queries())
    needs.scratch += layers * std::max(g.heads, g.kv_heads) * g.head_dim * number *
                     policy.queries_wanted(g.tokens_per_frame, g.tokens_per_chunk);
  return needs;
}

struct KvStore::Impl {
  // A chunk in flight. Its address does not change while it is in the deque, so a reference to its view stays
  // valid.
  struct InFlight final : KvView {
    InFlight(Impl& owner, int64_t id, int64_t frame, int64_t slot)
        : store(owner), chunk(id), first_frame(frame), part(slot) {}
    KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
      return store.append(*this, layer, q, own);
    }
    KvName name() const override {
      return store.follower ? KvName{store.follower->store(), chunk} : KvName{};
    }
    bool looks_at_queries() const override { return store.policy->needs_queries(); }
    KeyValue slots(int layer) override {
      const at::Tensor own = store.own_slots(*this, layer);
      return {own[0], own[1]};
    }
    // With 8 bits what a chunk attends is put together anew for each layer.
    KvPlace place() const override {
      if (store.small) return {};
      const int64_t begin = store.start_of(*this);
      return {store.buffer.const_data_ptr(), begin, begin + store.geometry.tokens_per_chunk};
    }
    Impl& store;
    int64_t chunk, first_frame;
    int64_t part;  // with a history in 8 bits: the chunk's part of the buffer
  };

  KvGeometry geometry;
  int64_t budget = 0;
  std::unique_ptr<KvPolicy> policy;
  std::unique_ptr<KvFollower> follower;  // null: nobody follows
  int64_t capacity = 0;
  at::Tensor buffer;  // [layers, K|V, kv_heads, capacity, head_dim]; with 8 bits only the chunks in flight
  at::Tensor origin;  // [layers, kv_heads, capacity, 1] int64, on the CPU
  std::unique_ptr<Int8History> small;  // with 8 bits: the history
  at::Tensor shown;  // with 8 bits: what a layer attends, [K|V, kv_heads, capacity, head_dim]
  int64_t next_place = 0;
  // With 8 bits, until it is part of `small`: the chunk that has finished, [layers, K|V, kv_heads, tokens, head_dim].
  at::Tensor finished;
  int64_t finished_frame = 0;
  // [layers, heads, wanted, head_dim], the queries of the last append().
  at::Tensor queries;
  at::Tensor scratch, origin_scratch;
  at::Tensor change;                     // [history] fp32, on the CPU; undefined if finish() gets none
  std::optional<int64_t> reach;          // see kv_reach()
  std::unique_ptr<RebasedKeys> rebased;  // only if keys are moved in time, and not with 8 bits
  int64_t history = 0;
  std::deque<InFlight> window;

  int64_t start_of(const InFlight& one) const {
    for (size_t i = 0; i < window.size(); ++i)
      if (&window[i] == &one) return history + static_cast<int64_t>(i) * geometry.tokens_per_chunk;
    defect("a view outlived its chunk");
  }

  // [K|V, kv_heads, tokens_per_chunk, head_dim]
  at::Tensor own_slots(const InFlight& one, int layer) const {
    const int64_t tokens = geometry.tokens_per_chunk;
    return buffer[layer].narrow(2, small ? one.part * tokens : start_of(one), tokens);
  }

  // All slots of a layer up to `end`.
  KeyValue span(int layer, int64_t end) const {
    const at::Tensor all = small ? show(layer, end) : buffer[layer];
    return {all[0].narrow(1, 0, end), all[1].narrow(1, 0, end)};
  }

  void allocate();
  Error out_of_memory(const std::string& where) const;
  void allocate_queries(int64_t heads);
  void admit(int64_t chunk, int64_t first_frame);
  KeyValue append(const InFlight& one, int layer, const at::Tensor& q, const KeyValue& own);
  void keep_queries(int layer, const at::Tensor& q);
  at::Tensor show(int layer, int64_t end) const;
  at::Tensor ask_policy(int layer);
  void check_shape(const at::Tensor& slots, int layer, const at::Tensor& first) const;
  at::Tensor slots_to_keep();
  void note_change(const at::Tensor& own);
  void keep(const at::Tensor& slots);
  void move_rows(const at::Tensor& slots);
};

void KvStore::Impl::allocate() {
  capacity = budget + geometry.window_chunks * geometry.tokens_per_chunk;
  try {
    const KvGeometry& g = geometry;
    const auto options = at::TensorOptions().dtype(g.dtype).device(g.device);
    const auto slots = [&](at::IntArrayRef leading, int64_t tokens) {
      std::vector<int64_t> shape = leading.vec();
      shape.insert(shape.end(), {g.kv_heads, tokens, g.head_dim});
      return at::zeros(shape, options);
    };
    origin = at::zeros({g.layers, g.kv_heads, capacity, 1}, at::kLong);
    if (g.precision == KvPrecision::int8) {
      small = std::make_unique<Int8History>(g, budget, reach);
      buffer = slots({g.layers, 2}, capacity - budget);
      shown = slots({2}, capacity);
    } else {
      buffer = slots({g.layers, 2}, capacity);
      if (reach) rebased = std::make_unique<RebasedKeys>(g, movable_tokens(g, budget, *policy), *reach);
    }
    if (policy->needs_queries() && g.heads > 0) allocate_queries(g.heads);
  } catch (const c10::Error&) {
    throw out_of_memory(" on " + geometry.device.str());
  } catch (const std::bad_alloc&) {
    throw out_of_memory("");
  }
}

Error KvStore::Impl::out_of_memory(const std::string& where) const {
  const KvNeeds needs = kv_needs(geometry, budget, *policy);
  return Error(FC_ERROR_MEMORY, "the KV buffer needs " +
                                    megabytes(needs.history + needs.in_flight + needs.scratch) + where +
                                    " and could not be allocated: lower kv-budget");
}

void KvStore::Impl::allocate_queries(int64_t heads) {
  const int64_t wanted = policy->queries_wanted(geometry.tokens_per_frame, geometry.tokens_per_chunk);
  queries =
      at::zeros({geometry.layers, heads, std::min(wanted, geometry.tokens_per_chunk), geometry.head_dim},
                buffer.options());
}

void KvStore::Impl::admit(int64_t chunk, int64_t first_frame) {
  if (static_cast<int64_t>(window.size()) >= geometry.window_chunks)
    defect("chunk " + std::to_string(chunk) + " enters a window that is full with " +
           std::to_string(window.size()));
  if (!window.empty() && window.back().chunk >= chunk)
    defect("chunk " + std::to_string(chunk) + " enters behind chunk " + std::to_string(window.back().chunk));
  window.emplace_back(*this, chunk, first_frame, next_place++ % geometry.window_chunks);
  const int64_t first_token = first_frame * geometry.tokens_per_frame;
  const at::Tensor tokens = at::arange(first_token, first_token + geometry.tokens_per_chunk, at::kLong);
  origin.narrow(2, start_of(window.back()), geometry.tokens_per_chunk).copy_(tokens.view({1, 1, -1, 1}));
}

KeyValue KvStore::Impl::append(const InFlight& one, int layer, const at::Tensor& q, const KeyValue& own) {
  layer_reached();  // every model family calls this function once for each layer
  const std::array<int64_t, 3> shape = {geometry.kv_heads, geometry.tokens_per_chunk, geometry.head_dim};
  if (layer < 0 || layer >= geometry.layers || own.k.sizes() != shape || own.v.sizes() != shape) {
    std::ostringstream what;
    what << "layer " << layer << " of " << geometry.layers << " appends keys " << own.k.sizes()
         << " and values " << own.v.sizes() << ", a chunk has " << at::IntArrayRef(shape);
    defect(what.str());
  }
  const at::Tensor place = own_slots(one, layer), keys = place[0], values = place[1];
  if (!same_memory(keys, own.k)) keys.copy_(own.k);
  if (!same_memory(values, own.v)) values.copy_(own.v);
  if (policy->needs_queries()) keep_queries(layer, q);
  return span(layer, start_of(one) + geometry.tokens_per_chunk);
}

void KvStore::Impl::keep_queries(int layer, const at::Tensor& q) {
  if (!queries.defined() || queries.size(1) != q.size(0)) allocate_queries(q.size(0));
  const int64_t count = queries.size(2);
  queries[layer].copy_(q.narrow(1, q.size(1) - count, count));
}

// With 8 bits: puts together what a layer has up to `end`, history and chunks in flight.
at::Tensor KvStore::Impl::show(int layer, int64_t end) const {
  int64_t start = small->tokens();
  small->read(layer, shown.narrow(2, 0, start));
  if (finished.defined()) {
    shown.narrow(2, start, geometry.tokens_per_chunk).copy_(finished[layer]);
    start += geometry.tokens_per_chunk;
  }
  for (auto one = window.begin(); start < end; ++one, start += geometry.tokens_per_chunk)
    shown.narrow(2, start, geometry.tokens_per_chunk).copy_(own_slots(*one, layer));
  return shown;
}

at::Tensor KvStore::Impl::ask_policy(int layer) {
  const KeyValue kv = span(layer, history);
  HistoryLayer view{.k = kv.k,
                    .v = kv.v,
                    .queries = queries.defined() ? queries[layer] : at::Tensor(),
                    .origin = origin[layer].narrow(1, 0, history).squeeze(-1),
                    .change = change,
                    .tokens_per_frame = geometry.tokens_per_frame,
                    .tokens_per_chunk = geometry.tokens_per_chunk,
                    .scratch_bytes = geometry.scratch_bytes};
  return policy->keep(view, budget);
}

void KvStore::Impl::check_shape(const at::Tensor& slots, int layer, const at::Tensor& first) const {
  const bool heads = slots.dim() == 2 && slots.size(0) == geometry.kv_heads;
  if ((slots.dim() == 1 || heads) && slots.size(-1) <= budget && slots.sizes() == first.sizes()) return;
  std::ostringstream what;
  what << "the policy keeps slots of shape " << slots.sizes() << " in layer " << layer << " and of "
       << first.sizes() << " in layer 0, budget " << budget;
  defect(what.str());
}

// Those of all layers are known before anything moves.
at::Tensor KvStore::Impl::slots_to_keep() {
  std::vector<at::Tensor> asked;
  for (int layer = 0; layer < geometry.layers; ++layer) {
    asked.push_back(ask_policy(layer));
    check_shape(asked.back(), layer, asked.front());
  }
  // One download for all layers.
  const at::Tensor slots = at::stack(asked).to(at::kCPU, at::kLong).contiguous();
  if (slots.numel() > 0) {
    const int64_t least = slots.min().item<int64_t>(), most = slots.max().item<int64_t>();
    if (least < 0 || most >= history)
      defect("the policy keeps slots " + std::to_string(least) + " to " + std::to_string(most) +
             " of a history of " + std::to_string(history));
  }
  return slots;
}

void KvStore::Impl::note_change(const at::Tensor& own) {
  if (policy->needs_change(1) < 0 && !policy->needs_drift()) return;
  // Frames that were given to the stream have no step, and no chunk before them.
  const at::Tensor known =
      own.defined() ? own.to(at::kCPU, at::kFloat) : at::zeros({geometry.tokens_per_chunk}, at::kFloat);
  change = change.defined() ? at::cat({change, known}) : known;
}

// Moves the rows of the buffers. What is in flight follows the history there, but not with 8 bits.
void KvStore::Impl::move_rows(const at::Tensor& slots) {
  const int64_t tail = static_cast<int64_t>(window.size()) * geometry.tokens_per_chunk;
  if (small) {
    if (finished.defined())
      small->append(finished, finished_frame, slots);
    else
      small->clear();  // history is forgotten
    finished = at::Tensor();
  }
  const std::vector<at::Tensor> of_layers = slots.unbind(0);
  if (!small) compact_layers(buffer, of_layers, history, tail, scratch);
  compact_layers(origin.unsqueeze(1), of_layers, history, tail, origin_scratch);
}

// Moves these slots of each layer together, and drops all others of the history: int64 [layers, kept] or
// [layers, kv_heads, kept], on the CPU.
void KvStore::Impl::keep(const at::Tensor& slots) {
  move_rows(slots);
  const int64_t kept = slots.size(-1);
  if (rebased) {
    const at::Tensor keys = buffer.select(1, 0).narrow(2, 0, kept);
    rebased->keep(slots[0], keys);
    rebased->move_up(keys);
  }
  if (change.defined()) {
    if (slots.dim() != 2) defect("a policy that looks at the change keeps the same tokens in every head");
    change = change.index_select(0, slots[0]);
  }
  history = kept;
}

KvStore::KvStore(const KvGeometry& geometry, int64_t budget_tokens, std::unique_ptr<KvPolicy> policy)
    : impl_(std::make_unique<Impl>()) {
  if (budget_tokens < geometry.tokens_per_chunk)
    throw Error(FC_ERROR_ARGUMENT,
                "chunk of " + std::to_string(geometry.tokens_per_chunk) + " tokens needs " +
                    megabytes(geometry.bytes(geometry.tokens_per_chunk)) + " of KV, budget is " +
                    megabytes(geometry.bytes(std::max<int64_t>(0, budget_tokens))) +
                    ": raise kv-budget, or ask for a smaller picture");
  policy->begin(geometry.tokens_per_frame, geometry.tokens_per_chunk, budget_tokens);
  impl_->geometry = geometry;
  impl_->budget = budget_tokens;
  impl_->policy = std::move(policy);
  if (impl_->policy->positions() == Positions::relative && geometry.time_frequencies.empty())
    throw Error(FC_ERROR_ARGUMENT,
                "positions=relative moves keys in time, which needs rotary time positions, and this model "
                "family does not have them: use positions=absolute");
  impl_->reach = kv_reach(geometry, *impl_->policy);
  impl_->allocate();
}

KvStore::~KvStore() = default;

void KvStore::follow(std::unique_ptr<KvFollower> follower) {
  impl_->follower = std::move(follower);
}

void KvStore::admit(int64_t chunk, int64_t first_frame) {
  impl_->admit(chunk, first_frame);
  if (impl_->follower) impl_->follower->admit(chunk, first_frame);
}

KvView& KvStore::view(int64_t chunk) {
  for (Impl::InFlight& one : impl_->window)
    if (one.chunk == chunk) return one;
  defect("chunk " + std::to_string(chunk) + " is not in flight");
}

const KvPolicy& KvStore::policy() const {
  return *impl_->policy;
}

bool KvStore::finish(int64_t chunk, const at::Tensor& change) {
  Impl& s = *impl_;
  if (s.window.empty() || s.window.front().chunk != chunk)
    defect("chunk " + std::to_string(chunk) + " finishes before an older one");
  const int64_t total = s.history + s.geometry.tokens_per_chunk;
  if (total > s.budget && !s.policy->drops())
    throw Error(FC_ENDED,
                "the KV cache keeps everything and its budget of " + megabytes(budget_bytes()) +
                    " cannot take chunk " + std::to_string(chunk) + " (" +
                    megabytes(s.geometry.bytes(s.geometry.tokens_per_chunk)) +
                    " more): raise kv-budget, or choose a KV cache policy that forgets, such as window");
  const int64_t first_frame = s.window.front().first_frame, tokens = s.geometry.tokens_per_chunk,
                before = s.history;
  // What may fail comes before anything is moved, so that after an error this can be called again.
  const at::Tensor change_before = s.change;
  at::Tensor kept;
  try {
    s.note_change(change);
    if (s.small) s.finished = s.buffer.narrow(3, s.window.front().part * tokens, tokens);
    s.history = total;
    if (total > s.budget) kept = s.slots_to_keep();
  } catch (...) {
    s.change = change_before;
    s.finished = at::Tensor();
    s.history = before;
    throw;
  }
  if (s.follower) s.follower->finish(chunk, change);
  if (s.rebased) s.rebased->append(s.buffer.select(1, 0).narrow(2, before, tokens), first_frame);
  s.finished_frame = first_frame;
  s.window.pop_front();
  if (kept.defined()) {
    s.keep(kept);
    return true;
  }
  bool moved = s.small && s.small->append(s.finished, first_frame);
  s.finished = at::Tensor();
  if (s.rebased) moved = s.rebased->move_up(s.buffer.select(1, 0).narrow(2, 0, total));
  return moved;
}

bool KvStore::is_in_flight(int64_t chunk) const {
  return std::any_of(impl_->window.begin(), impl_->window.end(),
                     [&](const Impl::InFlight& one) { return one.chunk == chunk; });
}

bool KvStore::forget_history() {
  Impl& s = *impl_;
  if (s.history == 0) return false;
  if (s.follower) s.follower->forget_history();
  s.keep(at::empty({s.geometry.layers, 0}, at::kLong));
  s.policy->begin(s.geometry.tokens_per_frame, s.geometry.tokens_per_chunk, s.budget);
  return true;
}

void KvStore::reset() {
  Impl& s = *impl_;
  if (s.follower) s.follower->reset();
  s.window.clear();
  s.history = 0;
  s.change = at::Tensor();
  if (s.rebased) s.rebased->reset();
  if (s.small) s.small->clear();
  s.finished = at::Tensor();
  if (s.queries.defined()) s.queries.zero_();
  s.policy->begin(s.geometry.tokens_per_frame, s.geometry.tokens_per_chunk, s.budget);
}

std::optional<int64_t> KvStore::reach() const {
  return impl_->reach;
}
int64_t KvStore::history_tokens() const {
  return impl_->history;
}
int64_t KvStore::budget_tokens() const {
  return impl_->budget;
}
uint64_t KvStore::history_bytes() const {
  return impl_->geometry.bytes(impl_->history);
}
uint64_t KvStore::budget_bytes() const {
  return impl_->geometry.bytes(impl_->budget);
}
uint64_t KvStore::allocated_bytes() const {
  const Impl& s = *impl_;
  uint64_t sum = s.geometry.device.is_cpu() ? s.origin.nbytes() : 0;
  sum += (s.rebased ? s.rebased->bytes() : 0) + (s.small ? s.small->allocated_bytes() : 0);
  for (const at::Tensor& one : {s.buffer, s.shown, s.scratch, s.queries})
    if (one.defined()) sum += one.nbytes();
  return sum;
}
std::map<int64_t, int64_t> KvStore::held_chunks() const {
  const Impl& s = *impl_;
  if (s.follower)
    if (auto elsewhere = s.follower->held_chunks()) return *elsewhere;
  std::map<int64_t, int64_t> held;
  for (int layer = 0; layer < s.geometry.layers; ++layer) {
    const at::Tensor tokens = s.origin[layer][0].flatten();
    const auto* token = tokens.const_data_ptr<int64_t>();
    // Neighbours are mostly of one chunk.
    for (int64_t slot = 0; slot < s.history;) {
      const int64_t chunk = token[slot] / s.geometry.tokens_per_chunk, begin = slot;
      while (slot < s.history && token[slot] / s.geometry.tokens_per_chunk == chunk) ++slot;
      held[chunk * s.geometry.tokens_per_chunk / s.geometry.tokens_per_frame] += slot - begin;
    }
  }
  return held;
}
KeyValue KvStore::history(int layer) const {
  return impl_->span(layer, impl_->history);
}

}  // namespace flowcache
