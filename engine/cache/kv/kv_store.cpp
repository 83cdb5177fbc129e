// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/kv_store.h"

#include <c10/util/Exception.h>

#include <deque>
#include <new>

#include "base/error.h"
#include "base/process_end.h"
#include "base/words.h"
#include "cache/kv/compact.h"
#include "cache/kv/rebase.h"

namespace flowcache {
namespace {

[[noreturn]] void defect(const std::string& what) {
  throw Error(FC_ERROR_INTERNAL, "KV store: " + what);
}

}  // namespace

uint64_t KvGeometry::bytes(int64_t tokens) const {
  return 2 * static_cast<uint64_t>(layers) * kv_heads * tokens * head_dim * c10::elementSize(dtype);
}

struct KvStore::Impl {
  // A chunk in flight. Its address does not change while it is in the deque, so a reference to its view stays
  // valid.
  struct InFlight final : KvView {
    InFlight(Impl& owner, int64_t id, int64_t frame) : store(owner), chunk(id), first_frame(frame) {}
    KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
      return store.append(*this, layer, q, own);
    }
    KvPlace place() const override {
      const int64_t begin = store.start_of(*this);
      return {store.buffer.const_data_ptr(), begin, begin + store.geometry.tokens_per_chunk};
    }
    Impl& store;
    int64_t chunk, first_frame;
  };

  KvGeometry geometry;
  int64_t budget = 0;
  std::unique_ptr<KvPolicy> policy;
  int64_t capacity = 0;
  at::Tensor buffer;  // [layers, K|V, kv_heads, capacity, head_dim]
  at::Tensor origin;  // [layers, kv_heads, capacity, 1] int64, on the CPU
  // [layers, heads, wanted, head_dim], the queries of the last append(); allocated at the first, kept until
  // reset().
  at::Tensor queries;
  at::Tensor scratch, origin_scratch;
  at::Tensor change;                     // [history] fp32, on the CPU; undefined if finish() gets none
  std::unique_ptr<RebasedKeys> rebased;  // only if the policy closes gaps
  int64_t history = 0;
  std::deque<InFlight> window;

  int64_t start_of(const InFlight& one) const {
    for (size_t i = 0; i < window.size(); ++i)
      if (&window[i] == &one) return history + static_cast<int64_t>(i) * geometry.tokens_per_chunk;
    defect("a view outlived its chunk");
  }

  KeyValue span(int layer, int64_t end) const {
    return {buffer[layer][0].narrow(1, 0, end), buffer[layer][1].narrow(1, 0, end)};
  }

  void allocate();
  void admit(int64_t chunk, int64_t first_frame);
  KeyValue append(const InFlight& one, int layer, const at::Tensor& q, const KeyValue& own);
  void keep_queries(int layer, const at::Tensor& q);
  at::Tensor ask_policy(int layer);
  void check_slots(const at::Tensor& slots, int layer, int64_t kept) const;
  void shrink();
  void keep(const std::vector<at::Tensor>& slots);
};

void KvStore::Impl::allocate() {
  capacity = budget + geometry.window_chunks * geometry.tokens_per_chunk;
  try {
    const auto options = at::TensorOptions().dtype(geometry.dtype).device(geometry.device);
    buffer = at::zeros({geometry.layers, 2, geometry.kv_heads, capacity, geometry.head_dim}, options);
    origin = at::zeros({geometry.layers, geometry.kv_heads, capacity, 1}, at::kLong);
    if (policy->closes_gaps())
      rebased = std::make_unique<RebasedKeys>(geometry, budget + geometry.tokens_per_chunk);
  } catch (const c10::Error&) {
    throw Error(FC_ERROR_MEMORY, "the KV buffer needs " + megabytes(geometry.bytes(capacity)) + " on " +
                                     geometry.device.str() + " and could not be allocated: lower kv-budget");
  } catch (const std::bad_alloc&) {
    throw Error(FC_ERROR_MEMORY, "the KV buffer needs " + megabytes(geometry.bytes(capacity)) +
                                     " and could not be allocated: lower kv-budget");
  }
}

void KvStore::Impl::admit(int64_t chunk, int64_t first_frame) {
  if (static_cast<int64_t>(window.size()) >= geometry.window_chunks)
    defect("chunk " + std::to_string(chunk) + " enters a window that is full with " +
           std::to_string(window.size()));
  if (!window.empty() && window.back().chunk >= chunk)
    defect("chunk " + std::to_string(chunk) + " enters behind chunk " + std::to_string(window.back().chunk));
  window.emplace_back(*this, chunk, first_frame);
  const int64_t first_token = first_frame * geometry.tokens_per_frame;
  const at::Tensor tokens = at::arange(first_token, first_token + geometry.tokens_per_chunk, at::kLong);
  origin.narrow(2, start_of(window.back()), geometry.tokens_per_chunk).copy_(tokens.view({1, 1, -1, 1}));
}

KeyValue KvStore::Impl::append(const InFlight& one, int layer, const at::Tensor& q, const KeyValue& own) {
  stop_at_process_end();  // every model family calls this function once for each layer
  const std::array<int64_t, 3> shape = {geometry.kv_heads, geometry.tokens_per_chunk, geometry.head_dim};
  if (layer < 0 || layer >= geometry.layers || own.k.sizes() != shape || own.v.sizes() != shape) {
    std::ostringstream what;
    what << "layer " << layer << " of " << geometry.layers << " appends keys " << own.k.sizes()
         << " and values " << own.v.sizes() << ", a chunk has " << at::IntArrayRef(shape);
    defect(what.str());
  }
  const int64_t start = start_of(one), end = start + geometry.tokens_per_chunk;
  buffer[layer][0].narrow(1, start, geometry.tokens_per_chunk).copy_(own.k);
  buffer[layer][1].narrow(1, start, geometry.tokens_per_chunk).copy_(own.v);
  if (policy->needs_queries()) keep_queries(layer, q);
  return span(layer, end);
}

void KvStore::Impl::keep_queries(int layer, const at::Tensor& q) {
  const int64_t wanted = policy->queries_wanted(geometry.tokens_per_frame, geometry.tokens_per_chunk);
  const int64_t count = std::min(wanted, q.size(1));
  if (!queries.defined())
    queries = at::zeros({geometry.layers, q.size(0), count, q.size(2)}, buffer.options());
  queries[layer].copy_(q.narrow(1, q.size(1) - count, count));
}

at::Tensor KvStore::Impl::ask_policy(int layer) {
  const KeyValue kv = span(layer, history);
  HistoryLayer view{.k = kv.k,
                    .v = kv.v,
                    .queries = queries.defined() ? queries[layer] : at::Tensor(),
                    .origin = origin[layer].narrow(1, 0, history).squeeze(-1),
                    .change = change,
                    .tokens_per_frame = geometry.tokens_per_frame,
                    .tokens_per_chunk = geometry.tokens_per_chunk};
  return policy->keep(view, budget).to(at::kCPU, at::kLong).contiguous();
}

void KvStore::Impl::check_slots(const at::Tensor& slots, int layer, int64_t kept) const {
  const bool shape = (slots.dim() == 1 || (slots.dim() == 2 && slots.size(0) == geometry.kv_heads)) &&
                     slots.size(-1) <= budget && slots.size(-1) == kept;
  if (shape && (kept == 0 || (slots.min().item<int64_t>() >= 0 && slots.max().item<int64_t>() < history)))
    return;
  std::ostringstream what;
  what << "the policy keeps slots of shape " << slots.sizes() << " in layer " << layer << ", budget "
       << budget << ", history " << history << ", kept in layer 0 " << kept;
  defect(what.str());
}

void KvStore::Impl::shrink() {
  // The slots of all layers are known before anything moves. If the policy throws, the buffer is unchanged.
  std::vector<at::Tensor> slots;
  for (int layer = 0; layer < geometry.layers; ++layer) {
    slots.push_back(ask_policy(layer));
    check_slots(slots.back(), layer, slots.front().size(-1));
  }
  keep(slots);
}

// Moves these slots of each layer together, and drops all others of the history.
void KvStore::Impl::keep(const std::vector<at::Tensor>& slots) {
  const int64_t tail = static_cast<int64_t>(window.size()) * geometry.tokens_per_chunk;
  for (int layer = 0; layer < geometry.layers; ++layer) {
    compact_rows(buffer[layer], slots[layer], history, tail, scratch);
    compact_rows(origin.narrow(0, layer, 1), slots[layer], history, tail, origin_scratch);
  }
  if (rebased) {
    rebased->keep(slots.front());
    rebased->close_gaps(buffer.select(1, 0).narrow(2, 0, slots.front().size(-1)));
  }
  if (change.defined()) {
    if (slots.front().dim() != 1)
      defect("a policy that looks at the change keeps the same tokens in every head");
    change = change.index_select(0, slots.front());
  }
  history = slots.front().size(-1);
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
  if (impl_->policy->closes_gaps() && geometry.time_frequencies.empty())
    throw Error(FC_ERROR_ARGUMENT,
                "positions=relative moves keys in time, which needs rotary time positions, and this model "
                "family does not have them: use positions=absolute");
  impl_->allocate();
}

KvStore::~KvStore() = default;

void KvStore::admit(int64_t chunk, int64_t first_frame) {
  impl_->admit(chunk, first_frame);
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
  if (change.defined())
    s.change = s.change.defined() ? at::cat({s.change, change.to(at::kCPU, at::kFloat)})
                                  : change.to(at::kCPU, at::kFloat);
  if (s.rebased)
    s.rebased->append(s.buffer.select(1, 0).narrow(2, s.history, s.geometry.tokens_per_chunk),
                      s.window.front().first_frame);
  s.window.pop_front();
  s.history = total;
  if (total <= s.budget) return false;
  s.shrink();
  return true;
}

bool KvStore::forget_history() {
  Impl& s = *impl_;
  if (s.history == 0) return false;
  s.keep(std::vector<at::Tensor>(s.geometry.layers, at::empty({0}, at::kLong)));
  s.policy->begin(s.geometry.tokens_per_frame, s.geometry.tokens_per_chunk, s.budget);
  return true;
}

void KvStore::reset() {
  Impl& s = *impl_;
  s.window.clear();
  s.history = 0;
  s.change = at::Tensor();
  if (s.rebased) s.rebased->reset();
  s.queries = at::Tensor();
  s.policy->begin(s.geometry.tokens_per_frame, s.geometry.tokens_per_chunk, s.budget);
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
  return impl_->buffer.nbytes() + (impl_->rebased ? impl_->rebased->bytes() : 0);
}
KeyValue KvStore::history(int layer) const {
  return impl_->span(layer, impl_->history);
}

}  // namespace flowcache
