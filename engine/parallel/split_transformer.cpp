// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/split_transformer.h"

#include "base/error.h"
#include "base/interruption.h"
#include "parallel/token_exchange.h"

namespace flowcache {
namespace {

// Rank 0's own, and the number under which the workers have theirs.
class SharedCondition final : public Condition {
 public:
  SharedCondition(std::shared_ptr<Team> team, std::shared_ptr<const Condition> own, uint64_t id)
      : team_(std::move(team)), own_(std::move(own)), id_(id) {}
  ~SharedCondition() override { team_->forget_condition(id_); }
  const Condition& own() const { return *own_; }
  uint64_t id() const { return id_; }

 private:
  std::shared_ptr<Team> team_;
  std::shared_ptr<const Condition> own_;
  uint64_t id_;
};

nlohmann::json recalled(const AttentionPlan& plan) {
  return {{"factors", plan.factors}, {"kept", plan.kept}, {"sizes", plan.sizes}};
}

}  // namespace

std::shared_ptr<const Condition> SplitTransformer::condition(const at::Tensor& features) const {
  std::shared_ptr<const Condition> own = own_->condition(features);
  const auto held = team_->hold();
  team_->check();
  const uint64_t id = team_->next_id();
  team_->order({{"do", "condition"}, {"id", id}, {"features", to_json(features.to(at::kFloat))}});
  return std::make_shared<SharedCondition>(team_, std::move(own), id);
}

Embedded SplitTransformer::embed(const at::Tensor& latent, std::span<const double> timesteps,
                                 int64_t first_frame) const {
  Embedded embedded = own_->embed(latent, timesteps, first_frame);
  embedded.timesteps.assign(timesteps.begin(), timesteps.end());
  return embedded;
}

// What is written to the cache is all that the caller wants, and that is not here.
static bool wants_keys_only(const Embedded& embedded, int last, const TransformerShape& shape) {
  return embedded.keys_only && last == shape.layers;
}

// whole: one rank runs the blocks on all tokens.
void SplitTransformer::order_blocks(const Embedded& embedded, const at::Tensor& tokens,
                                    const Condition& condition, const KvName& name, int first, int last,
                                    bool whole) const {
  const Grid& grid = embedded.grid;
  nlohmann::json order = {{"do", "blocks"},
                          {"whole", whole},
                          {"store", name.store},
                          {"chunk", name.chunk},
                          {"newest", name.newest},
                          {"condition", static_cast<const SharedCondition&>(condition).id()},
                          {"first", first},
                          {"last", last},
                          {"keys_only", wants_keys_only(embedded, last, shape())},
                          {"first_frame", embedded.first_frame},
                          {"timesteps", embedded.timesteps},
                          {"grid", {grid.frames, grid.height, grid.width}},
                          {"passes", tokens.size(0) / grid.tokens()},
                          {"type", static_cast<int>(tokens.scalar_type())}};
  if (embedded.attention) order["attention"] = recalled(embedded.attention->plan());
  team_->order(order);
  team_->check(name.store);
}

// Holds the team until the result is there. If nobody has fetched it, rank 1 is out of step.
class SplitTransformer::Elsewhere final : public Begun {
 public:
  Elsewhere(const SplitTransformer& owner, std::unique_lock<std::recursive_mutex> held)
      : owner_(owner), held_(std::move(held)) {}
  ~Elsewhere() override {
    if (owner_.begun_ >= 0 && owner_.team_->has_store(owner_.begun_))
      owner_.team_->abandon("a step was given up while rank 1 ran its guidance branch");
    owner_.begun_ = -1;
  }

 private:
  const SplitTransformer& owner_;
  std::unique_lock<std::recursive_mutex> held_;
  const Interruptible not_within_{nullptr};  // as in blocks()
};

std::unique_ptr<Transformer::Begun> SplitTransformer::begin_blocks(const Embedded& embedded,
                                                                   const at::Tensor& tokens,
                                                                   const Condition& condition, KvView& kv,
                                                                   int first, int last) const {
  const KvName name = kv.name();
  auto held = team_->hold();
  if (team_->place_of(name.store) != Team::Place::elsewhere) return nullptr;
  team_->check(name.store);
  order_blocks(embedded, tokens, condition, name, first, last, true);
  try {
    team_->exchange().all_to_all(tokens.flatten(), {0, tokens.numel()}, {0, 0});
  } catch (const LostRank& lost) {
    team_->fail(lost.what());
  }
  begun_ = name.store;
  return std::make_unique<Elsewhere>(*this, std::move(held));
}

// What rank 1 has made of all tokens. This process keeps no attention of the branch, but counts what is kept there.
at::Tensor SplitTransformer::collect(const Embedded& embedded, const at::Tensor& tokens, int first,
                                     int last) const {
  begun_ = -1;
  if (AttentionMemory* const memory = embedded.attention)
    for (int layer = first; layer < last; ++layer)
      if (!memory->recall(layer).defined()) memory->keep(layer, at::empty({0}, tokens.options()));
  if (wants_keys_only(embedded, last, shape())) return tokens;
  try {
    const at::Tensor none = at::empty({0}, tokens.options());
    return team_->exchange().all_to_all(none, {0, 0}, {0, tokens.numel()}).view(tokens.sizes());
  } catch (const LostRank& lost) {
    team_->fail(lost.what());
  }
}

at::Tensor SplitTransformer::blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition,
                                    KvView& kv, int first, int last) const {
  const Condition& own_condition = static_cast<const SharedCondition&>(condition).own();
  const KvName name = kv.name();
  auto held = team_->hold();
  team_->check(name.store);
  const Team::Place place = team_->place_of(name.store);
  if (place == Team::Place::here && team_->count() == 1) {
    held.unlock();
    return own_->blocks(embedded, std::move(tokens), own_condition, kv, first, last);
  }
  const Interruptible not_within(nullptr);  // a rank that stops alone would leave the others waiting
  if (place == Team::Place::here) {
    held.unlock();
    return own_->blocks(embedded, std::move(tokens), own_condition, kv, first, last);
  }
  if (place == Team::Place::elsewhere) {
    const auto begun =
        begun_ == name.store ? nullptr : begin_blocks(embedded, tokens, condition, kv, first, last);
    return collect(embedded, tokens, first, last);
  }
  order_blocks(embedded, tokens, condition, name, first, last, false);
  try {
    const int64_t passes = tokens.size(0) / embedded.grid.tokens();
    TokenExchange split(team_->exchange(), shape(), team_->attention(), embedded.grid.tokens());
    Embedded mine = embedded;
    mine.split = &split;
    const at::Tensor own = own_->blocks(mine, split.scatter(tokens, passes), own_condition, kv, first, last);
    return wants_keys_only(embedded, last, shape()) ? tokens : split.gather(own, passes);
  } catch (const LostRank& lost) {
    team_->fail(lost.what());
  } catch (const std::exception& own) {
    team_->abandon(own.what());
    throw;
  }
}

std::unique_ptr<Transformer> SplitTransformer::with_weights(const WeightMap&,
                                                            const std::set<std::string>&) const {
  throw Error(FC_ERROR_ARGUMENT,
              "a network that runs on " + std::to_string(team_->count()) +
                  " devices cannot take other weights while it plays: name the LoRA in model.json "
                  "(transformer.loras), or leave devices out");
}

}  // namespace flowcache
