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

nlohmann::json to_json(const AttentionPlan& plan) {
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

at::Tensor SplitTransformer::blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition,
                                    KvView& kv, int first, int last) const {
  const auto& shared = static_cast<const SharedCondition&>(condition);
  const KvName name = kv.name();
  const Grid& grid = embedded.grid;
  const int64_t passes = tokens.size(0) / grid.tokens();
  // What is written to the cache is all that the caller wants, and that is not here.
  const bool keys_only = embedded.keys_only && last == shape().layers;
  nlohmann::json order = {{"do", "blocks"},
                          {"store", name.store},
                          {"chunk", name.chunk},
                          {"newest", name.newest},
                          {"condition", shared.id()},
                          {"first", first},
                          {"last", last},
                          {"keys_only", keys_only},
                          {"first_frame", embedded.first_frame},
                          {"timesteps", embedded.timesteps},
                          {"grid", {grid.frames, grid.height, grid.width}},
                          {"passes", passes},
                          {"type", static_cast<int>(tokens.scalar_type())}};
  if (embedded.attention) order["attention"] = to_json(embedded.attention->plan());
  const auto held = team_->hold();
  team_->check();
  team_->order(order);
  team_->check();
  const Interruptible not_within(nullptr);  // a rank that stops alone would leave the others waiting
  try {
    TokenExchange split(team_->exchange(), shape(), team_->attention(), grid.tokens());
    Embedded mine = embedded;
    mine.split = &split;
    const at::Tensor own = own_->blocks(mine, split.scatter(tokens, passes), shared.own(), kv, first, last);
    return keys_only ? tokens : split.gather(own, passes);
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
