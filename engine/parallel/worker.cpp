// SPDX-License-Identifier: LGPL-2.1-or-later
// A worker: does what rank 0 says until that is gone.
#include <map>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "cache/registry.h"
#include "parallel/cards.h"
#include "parallel/door.h"
#include "parallel/exchange.h"
#include "parallel/identity.h"
#include "parallel/parallel.h"
#include "parallel/token_exchange.h"
#include "stream/residual/kept.h"
#include "stream/work.h"

namespace flowcache {
namespace {

using nlohmann::json;

class Worker {
 public:
  // joined: it has come from elsewhere, by the channel's interface. stays: also when other workers are lost.
  Worker(Channel& channel, bool joined, bool stays, std::shared_ptr<const LoadedModel> model)
      : channel_(channel),
        joined_(joined),
        stays_(stays),
        model_(std::move(model)),
        lane_(model_->device),
        work_(*model_, *lane_) {}

  // Returns when rank 0 says so. Throws LostRank when it is gone.
  void serve() {
    while (const auto order = channel_.receive()) {
      const std::string what = order->at("do");
      if (what == "end") return;
      try {
        obey(what, *order);
      } catch (const LostRank&) {
        if (!stays_) throw;
        exchange_.reset();  // so that others notice; rank 0 says what follows
      }
    }
    throw LostRank("rank 0 is gone");
  }

 private:
  // The keys and values of a guidance branch of a stream, and the attention that its chunks keep.
  struct Store {
    std::unique_ptr<KvStore> kv;  // null: this rank has no heads
    std::map<int64_t, std::vector<Residuals>> attention;
  };

  void obey(const std::string& what, const json& order) {
    if (what == "refuse")
      throw Error(FC_ERROR_DEVICE, "the stream refuses this worker: " + order.at("why").get<std::string>());
    if (what == "here") channel_.send({{"here", order.at("number")}});
    if (what == "meet") meet(order);
    if (what == "condition")
      conditions_[order.at("id")] =
          model_->transformer->condition(tensor_of(order.at("features")).to(model_->device));
    if (what == "forget")
      for (const uint64_t id : order.at("conditions")) conditions_.erase(id);
    if (what == "keys") keys(order);
    if (what == "blocks") blocks(order);
  }

  // The stores of a group are over with it.
  void meet(const json& order) {
    exchange_.reset();
    stores_.clear();
    Meeting meeting{.folder = order.at("folder"),
                    .host = order.at("host"),
                    .port = order.at("port"),
                    .secret = order.at("secret"),
                    .address = "127.0.0.1",  // of one machine
                    .rank = order.at("rank"),
                    .ranks = order.at("ranks"),
                    .timeout = std::chrono::milliseconds(order.at("timeout_ms").get<int64_t>()),
                    .nccl = order.at("nccl"),
                    .device = model_->device};
    if (meeting.folder.empty())
      meeting.address = joined_ ? own_address(channel_.socket()).host : meeting.host;
    attention_ = choose_attention_split(order.at("attention"), model_->transformer->shape(), meeting.ranks);
    exchange_ = std::make_unique<Exchange>(meeting);
    channel_.send({{"met", true}});
  }

  void keys(const json& order) {
    const int store = order.at("store");
    const std::string what = order.at("what");
    if (what == "open") return open(store, order);
    if (what == "close") return void(stores_.erase(store));
    Store& own = stores_.at(store);
    if (what == "admit") own.kv->admit(order.at("chunk"), order.at("first_frame"));
    if (what == "forget") own.kv->forget_history();
    if (what == "held") {
      json held = json::array();
      for (const auto& [frame, tokens] : own.kv->held_chunks()) held.push_back({frame, tokens});
      channel_.send({{"held", held}});
    }
    if (what == "finish") {
      const auto change = order.find("change");
      own.kv->finish(order.at("chunk"), change == order.end() ? at::Tensor() : tensor_of(*change));
      own.attention.erase(order.at("chunk"));
    }
    if (what == "reset") {
      own.kv->reset();
      own.attention.clear();
    }
  }

  void open(int store, const json& order) {
    const TransformerShape& shape = model_->transformer->shape();
    const bool all = order.at("all_heads");
    const HeadShare mine =
        head_share(shape, all ? AttentionSplit::rows : attention_, exchange_->ranks(), exchange_->rank());
    const KvGeometry geometry{.layers = shape.layers,
                              .kv_heads = mine.kv_heads.count * shape.head_sets,
                              .head_dim = shape.head_dim,
                              .tokens_per_frame = order.at("tokens_per_frame"),
                              .tokens_per_chunk = order.at("tokens_per_chunk"),
                              .window_chunks = order.at("window_chunks"),
                              .dtype = model_->compute,
                              .device = model_->device,
                              .time_frequencies = shape.time_frequencies,
                              .heads = mine.heads.count * shape.head_sets,
                              .precision = model_->kv_precision,
                              .scratch_bytes = order.at("scratch_bytes"),
                              .trained_frames = model_->package.cache.value("trained_frames", int64_t{0})};
    stores_[store].kv = std::make_unique<KvStore>(geometry, order.at("budget_tokens"),
                                                  choose_kv(order.at("policy").get<std::string>()).make());
  }

  // Everything that blocks() needs beside the tokens follows from the place of the chunk and its timesteps. The steps of a
  // chunk ask for it several times.
  const Embedded& embedded(const json& order) {
    const json key = {order.at("timesteps"), order.at("first_frame"), order.at("grid")};
    if (embedded_key_ == key) return embedded_;
    const auto grid = order.at("grid").get<std::vector<int64_t>>();
    const auto timesteps = order.at("timesteps").get<std::vector<double>>();
    const TransformerShape& shape = model_->transformer->shape();
    const at::Tensor latent = at::zeros(
        {shape.latent_channels, grid.at(0), grid.at(1) * shape.patch_height, grid.at(2) * shape.patch_width},
        at::TensorOptions(model_->device).dtype(at::kFloat));
    embedded_ = model_->transformer->embed(latent, timesteps, order.at("first_frame"));
    embedded_key_ = key;
    return embedded_;
  }

  void blocks(const json& order) {
    if (!exchange_) throw LostRank("this rank has left its group");
    const TransformerShape& shape = model_->transformer->shape();
    Embedded mine = embedded(order);
    const bool whole = order.at("whole");  // this rank runs them on all tokens
    TokenExchange split(*exchange_, shape, attention_, mine.grid.tokens());
    mine.tokens = at::Tensor();
    if (!whole) mine.split = &split;
    mine.keys_only = order.at("keys_only");
    Store* const store = order.at("store").get<int>() < 0 ? nullptr : &stores_.at(order.at("store"));
    std::optional<AttentionPass> attention;
    if (const auto plan = order.find("attention"); plan != order.end() && store)
      mine.attention = &attention.emplace(pass_of(*plan, store->attention[order.at("chunk")]));
    OwnKeys none;
    NewestKeys view(store ? store->kv->view(order.at("chunk")) : none, order.at("newest"));
    const int64_t passes = order.at("passes"), numbers = passes * mine.grid.tokens() * shape.dim;
    const Condition& condition = *conditions_.at(order.at("condition"));
    const auto type = static_cast<at::ScalarType>(order.at("type").get<int>());
    const at::Tensor nothing = at::empty({0}, at::TensorOptions(model_->device).dtype(type));
    const at::Tensor tokens = whole
                                  ? exchange_->all_to_all(nothing, {0, 0}, {numbers, 0}).view({-1, shape.dim})
                                  : split.scatter(nothing, passes);
    const at::Tensor out =
        model_->transformer->blocks(mine, tokens, condition, view, order.at("first"), order.at("last"));
    if (mine.keys_only) return;
    if (whole)
      exchange_->all_to_all(out.to(type).flatten(), {numbers, 0}, {0, 0});
    else
      split.gather(out, passes);
  }

  // Of the outputs that are kept here rank 0 may have dropped some since the last pass: all, or the oldest.
  static AttentionPass pass_of(const json& plan, std::vector<Residuals>& layers) {
    const auto sizes = plan.at("sizes").get<std::vector<size_t>>();
    for (size_t layer = 0; layer < layers.size(); ++layer)
      layers[layer].keep_newest(layer < sizes.size() ? sizes[layer] : 0);
    return AttentionPass(layers, plan.at("factors").get<std::vector<double>>(), plan.at("kept"));
  }

  Channel& channel_;
  bool joined_, stays_;
  std::shared_ptr<const LoadedModel> model_;
  LentLane lane_;
  Work work_;
  AttentionSplit attention_ = AttentionSplit::heads;
  std::unique_ptr<Exchange> exchange_;
  std::map<uint64_t, std::shared_ptr<const Condition>> conditions_;
  std::map<int, Store> stores_;
  json embedded_key_;
  Embedded embedded_;
};

LoadOptions options_of(const json& order, const WorkerOptions& own) {
  LoadOptions options;
  options.network_only = true;
  options.kv_share = order.at("kv_share");
  options.precision = order.at("precision");
  options.kv_precision = order.at("kv_precision");
  options.slice_tokens = order.at("slice_tokens");
  options.width = order.at("width");
  options.height = order.at("height");
  const bool joined = own.socket < 0;
  options.model = joined ? own.model : order.at("model").get<std::string>();
  options.device = joined ? own.device : order.at("device").get<std::string>();
  options.threads = joined ? own.threads : order.at("threads").get<uint32_t>();
  options.memory_limit = joined ? own.memory_limit : order.at("memory_limit").get<uint64_t>();
  return options;
}

}  // namespace

void run_worker(const WorkerOptions& options) {
  Channel channel = options.socket >= 0 ? Channel(options.socket)
                                        : knock_at(Address::parse(options.join), token_of_environment());
  const auto tell = [&](const std::string& error, fc_status status, bool lost) {
    channel.send({{"error", error}, {"status", static_cast<int>(status)}, {"lost", lost}});
  };
  try {
    const auto order = channel.receive();
    if (!order) return;  // rank 0 has changed its mind
    const auto model = LoadedModel::load(options_of(*order, options), nullptr);
    channel.send({{"identity", identity_of(*model)}, {"card", card_of(model->device)}});
    Worker(channel, options.socket < 0, order->value("stays", false), model).serve();
  } catch (const Error& error) {
    tell(error.what(), error.status(), false);
    throw;
  } catch (const LostRank& error) {
    tell(error.what(), FC_ERROR_DEVICE, true);
    throw Error(FC_ERROR_DEVICE, std::string("the other ranks are lost: ") + error.what());
  } catch (const std::exception& error) {
    tell(error.what(), FC_ERROR_INTERNAL, false);
    throw;
  }
}

}  // namespace flowcache
