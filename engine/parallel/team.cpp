// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/team.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "base/resources.h"
#include "families/family.h"
#include "parallel/cards.h"
#include "parallel/identity.h"
#include "parallel/split_transformer.h"

namespace flowcache {
namespace {

constexpr std::chrono::minutes joining_patience{10};
constexpr std::chrono::milliseconds look_around{200};  // between two questions whether to go on

// A folder that only this user may enter, for the time that ranks of one machine need to find each other.
class PrivateFolder {
 public:
  PrivateFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "flowcache-ranks-XXXXXX").string();
    if (!mkdtemp(name.data()))
      throw Error(FC_ERROR_NOT_FOUND,
                  "no folder can be made in " + std::filesystem::temp_directory_path().string() +
                      " for the ranks to find each other: set TMPDIR to one that can be written");
    path_ = name;
  }
  ~PrivateFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Follower final : public KvFollower {
 public:
  Follower(std::shared_ptr<Team> team, int store) : team_(std::move(team)), store_(store) {}
  ~Follower() override {
    tell("close", {});
    team_->forget_store(store_);
  }
  int store() const override { return store_; }
  std::optional<std::map<int64_t, int64_t>> held_chunks() override {
    if (team_->place_of(store_) != Team::Place::elsewhere) return {};
    return team_->held_chunks(store_);
  }
  void admit(int64_t chunk, int64_t first_frame) override {
    tell("admit", {{"chunk", chunk}, {"first_frame", first_frame}});
  }
  void finish(int64_t chunk, const at::Tensor& change) override {
    nlohmann::json more = {{"chunk", chunk}};
    if (change.defined()) more["change"] = to_json(change);
    tell("finish", std::move(more));
  }
  void forget_history() override { tell("forget", {}); }
  void reset() override { tell("reset", {}); }

 private:
  void tell(const char* what, nlohmann::json more) {
    const auto held = team_->hold();
    if (!team_->has_store(store_) || team_->place_of(store_) == Team::Place::here) return;
    more["do"] = "keys";
    more["store"] = store_;
    more["what"] = what;
    team_->order(more);
  }
  std::shared_ptr<Team> team_;
  int store_;
};

void check_options(const RankOptions& ranks) {
  if (ranks.devices.size() < 2)
    throw Error(FC_ERROR_ARGUMENT, "devices: at least two are wanted, such as cpu,cpu; one is `device`");
  if (ranks.devices.front() == "join")
    throw Error(FC_ERROR_ARGUMENT, "devices: the first one is this process's own and cannot be join");
  const bool joins = std::count(ranks.devices.begin(), ranks.devices.end(), "join") > 0;
  if (joins && ranks.listen.empty())
    throw Error(
        FC_ERROR_ARGUMENT,
        "devices: a worker that joins needs an address to come to: set listen, such as 127.0.0.1:7000");
  if (!joins && !ranks.listen.empty())
    throw Error(FC_ERROR_ARGUMENT, "listen=" + ranks.listen + ": no worker joins: add join to devices");
}

// Of this machine, so that this process can use them.
bool all_on_gpus(const std::vector<std::string>& devices) {
  return std::all_of(devices.begin(), devices.end(),
                     [](const std::string& device) { return device.starts_with("cuda"); });
}

bool goes_on(const std::string& wish) {
  if (wish.empty() || wish == "auto" || wish == "go_on") return true;
  if (wish == "end") return false;
  throw Error(FC_ERROR_ARGUMENT, "on_lost_rank \"" + wish + "\" is unknown; use go_on or end");
}

}  // namespace

std::string Team::Worker::name() const {
  std::string text = "rank " + std::to_string(rank) + " (" + device;
  if (process) text += ", process " + std::to_string(process->id());
  return text + ")";
}

void Team::Worker::part() {
  channel().close();
  if (process) process->end(std::chrono::milliseconds(0));
}

Team::Team(const LoadOptions& options, const RankOptions& ranks, const Progress& progress)
    : goes_on_(flowcache::goes_on(ranks.on_lost_rank)),
      timeout_(ranks.timeout_ms == 0 ? 30000 : ranks.timeout_ms),
      attention_wish_(ranks.attention) {
  check_options(ranks);
  start_workers(options, ranks, progress);
}

void Team::start_workers(const LoadOptions& options, const RankOptions& ranks, const Progress& progress) {
  std::optional<Door> door;
  if (!ranks.listen.empty()) {
    const std::string token = token_of_environment();
    if (token.empty())
      throw Error(
          FC_ERROR_ARGUMENT,
          "listen=" + ranks.listen +
              ": workers need a token: set FLOWCACHE_TOKEN_FILE to a file with one, here and at the workers");
    door.emplace(Address::parse(ranks.listen), token);
    listen_host_ = door->address().host;
    if (listen_host_ == "0.0.0.0" || listen_host_ == "::")
      throw Error(FC_ERROR_ARGUMENT, "listen=" + ranks.listen +
                                         ": name the address of one interface, the one by "
                                         "which the workers come");
    log(FC_LOG_INFO, "workers may join at " + listen_host_ + ":" + std::to_string(door->address().port));
  }
  nlohmann::json load = {{"do", "load"},
                         {"model", options.model},
                         {"precision", options.precision},
                         {"kv_precision", options.kv_precision},
                         {"threads", options.threads},
                         {"memory_limit", options.memory_limit},
                         {"slice_tokens", options.slice_tokens},
                         {"width", options.width},
                         {"height", options.height},
                         {"kv_share", options.kv_share},
                         {"stays", goes_on_}};
  for (size_t rank = 1; rank < ranks.devices.size(); ++rank) {
    Worker worker{.rank = rank, .device = ranks.devices[rank]};
    if (worker.device == "join") {
      const auto until = std::chrono::steady_clock::now() + joining_patience;
      while (!worker.joined.open()) {
        worker.joined = door->let_in(look_around);
        if (progress && !progress("join", 0)) throw Error(FC_CANCELLED, "loading was cancelled");
        if (!worker.joined.open() && std::chrono::steady_clock::now() > until)
          throw Error(FC_ERROR_DEVICE, "rank " + std::to_string(rank) + " of " +
                                           std::to_string(ranks.devices.size()) +
                                           " has not joined in ten minutes");
      }
    } else {
      worker.process.emplace(WorkerProcess::start());
    }
    load["device"] = worker.device;
    worker.channel().send(load);  // a worker that is gone is found by form()
    workers_.push_back(std::move(worker));
    ++count_;
  }
}

Team::~Team() {
  {
    const auto held = hold();
    if (broken_.empty()) order({{"do", "end"}});
  }
  for (Worker& worker : workers_) worker.channel().close();
  exchange_.reset();
  for (Worker& worker : workers_)
    if (worker.process) worker.process->end(std::chrono::seconds(5));
}

std::unique_ptr<Transformer> Team::split(std::unique_ptr<Transformer> whole) {
  shape_ = whole->shape();
  attention_ = choose_attention_split(attention_wish_, shape_, count());
  return std::make_unique<SplitTransformer>(shared_from_this(), std::move(whole));
}

uint64_t Team::generation() const {
  const std::unique_lock held(mutex_);
  return generation_;
}

bool Team::by_branch(int branches) const {
  return flowcache::by_branch(attention_wish_, count(), branches);
}

KvGeometry Team::share(const KvGeometry& whole, int branch, int branches) const {
  const std::unique_lock held(mutex_);
  KvGeometry share = whole;
  if (by_branch(branches)) {
    if (branch > 0) share.heads = share.kv_heads = 1;
    return share;
  }
  const HeadShare mine = head_share(shape_, attention_, count(), 0);
  share.heads = mine.heads.count * shape_.head_sets;
  share.kv_heads = mine.kv_heads.count * shape_.head_sets;
  return share;
}

std::unique_ptr<KvFollower> Team::follow(uint64_t generation, const KvGeometry& share, int64_t budget_tokens,
                                         const std::string& policy, int branch, int branches) {
  const auto held = hold();
  check();
  if (generation != generation_) throw RanksChanged();
  const int store = static_cast<int>(next_id());
  stores_.insert(store);
  const bool apart = by_branch(branches);
  if (apart) places_[store] = branch == 0 ? Place::here : Place::elsewhere;
  if (place_of(store) != Place::here)
    order({{"do", "keys"},
           {"what", "open"},
           {"store", store},
           {"all_heads", apart},
           {"tokens_per_frame", share.tokens_per_frame},
           {"tokens_per_chunk", share.tokens_per_chunk},
           {"window_chunks", share.window_chunks},
           {"scratch_bytes", share.scratch_bytes},
           {"budget_tokens", budget_tokens},
           {"policy", policy}});
  return std::make_unique<Follower>(shared_from_this(), store);
}

Team::Place Team::place_of(int store) const {
  const std::unique_lock held(mutex_);
  if (workers_.empty()) return Place::here;
  const auto found = places_.find(store);
  return found == places_.end() ? Place::shared : found->second;
}

bool Team::has_store(int store) const {
  const std::unique_lock held(mutex_);
  return stores_.contains(store);
}

void Team::forget_store(int store) {
  const auto held = hold();
  stores_.erase(store);
  places_.erase(store);
}

std::map<int64_t, int64_t> Team::held_chunks(int store) {
  const auto held = hold();
  check(store);
  order({{"do", "keys"}, {"what", "held"}, {"store", store}});
  check();
  const auto answer = workers_.front().channel().receive(timeout_);
  if (!answer || !answer->contains("held")) fail("it does not say which chunks it holds");
  std::map<int64_t, int64_t> chunks;
  for (const auto& one : answer->at("held")) chunks[one.at(0)] = one.at(1);
  return chunks;
}

void Team::form(const LoadedModel& own, const Progress& progress) {
  const auto held = hold();
  const nlohmann::json identity = identity_of(own);
  device_ = own.device;
  card_ = card_of(own.device);
  for (size_t i = 0; i < workers_.size(); ++i) wait_for(i, identity, progress);
  try {
    meet();
  } catch (const std::exception& error) {
    if (broken_.empty()) give_up(why_failed(error.what()));
    throw Error(FC_ERROR_DEVICE, broken_);
  }
  log(FC_LOG_INFO, "the network runs on " + std::to_string(count()) + " devices, attention split by " +
                       name_of(attention_) + ", exchanges by " + (nccl_ ? "NCCL" : "Gloo"));
}

bool Team::have_a_card_each() const {
  std::set<std::string> cards = {card_};
  for (const Worker& worker : workers_) cards.insert(worker.card);
  return cards.size() == workers_.size() + 1 && !cards.contains("");
}

// Makes a group of all that are there. Throws LostRank.
void Team::meet() {
  attention_ = choose_attention_split(attention_wish_, shape_, count());
  nccl_ = have_a_card_each();
  if (workers_.empty()) return;
  Meeting meeting{.secret = random_text(),
                  .rank = 0,
                  .ranks = count(),
                  .timeout = timeout_,
                  .nccl = nccl_,
                  .device = device_};
  std::optional<PrivateFolder> folder;
  if (listen_host_.empty()) {
    meeting.folder = folder.emplace().path();
    meeting.address = "127.0.0.1";
  } else {
    meeting.host = meeting.address = listen_host_;
    meeting.listener = listen_at({listen_host_, 0});
    meeting.port = own_address(meeting.listener).port;
  }
  for (size_t i = 0; i < workers_.size(); ++i)
    workers_[i].channel().send({{"do", "meet"},
                                {"folder", meeting.folder},
                                {"host", meeting.host},
                                {"port", meeting.port},
                                {"secret", meeting.secret},
                                {"timeout_ms", meeting.timeout.count()},
                                {"nccl", meeting.nccl},
                                {"attention", name_of(attention_)},
                                {"rank", i + 1},
                                {"ranks", count()}});
  exchange_ = std::make_unique<Exchange>(meeting);
  // Others may still look for each other where they meet.
  for (Worker& worker : workers_)
    if (const auto met = worker.channel().receive(timeout_); !met || !met->contains("met"))
      throw LostRank(met ? met->value("error", "") : "the ranks did not find each other");
}

void Team::wait_for(size_t index, const nlohmann::json& own, const Progress& progress) {
  Worker& worker = workers_[index];
  const std::string name = worker.name();
  std::optional<nlohmann::json> answer;
  while (!answer) {
    if (progress && !progress("load", 0.95)) throw Error(FC_CANCELLED, "loading was cancelled");
    answer = worker.channel().receive(look_around);
    const std::string trouble = worker.process ? worker.process->trouble() : "";
    if (!answer && (!trouble.empty() || !worker.channel().alive()))
      throw Error(FC_ERROR_DEVICE,
                  name + " " + (trouble.empty() ? "is gone" : trouble) + " before it had loaded the model");
  }
  if (const auto error = answer->find("error"); error != answer->end())
    throw Error(static_cast<fc_status>(answer->value("status", int{FC_ERROR_DEVICE})),
                name + ": " + error->get<std::string>());
  worker.card = answer->value("card", "");
  const std::string why = difference(own, answer->value("identity", nlohmann::json::object()));
  if (why.empty()) return;
  worker.channel().send({{"do", "refuse"}, {"why", why}});
  throw Error(FC_ERROR_DEVICE, name + " does not fit to this stream: " + why);
}

void Team::order(const nlohmann::json& what) {
  const auto held = hold();
  if (!broken_.empty()) return;
  std::vector<uint64_t> forgotten;
  {
    const std::lock_guard lock(forgotten_mutex_);
    forgotten.swap(forgotten_);
  }
  for (Worker& worker : workers_) {
    if (!worker.lost.empty()) continue;
    bool sent = true;
    if (!forgotten.empty())
      sent = worker.channel().send({{"do", "forget"}, {"conditions", forgotten}}, timeout_);
    if (sent && worker.channel().send(what, timeout_)) continue;
    if (!goes_on_) return give_up(why_failed("it does not take orders"));
    worker.lost = "does not take orders";  // the others still do, so that they stay in step
  }
}

void Team::forget_condition(uint64_t id) {
  const std::lock_guard lock(forgotten_mutex_);
  forgotten_.push_back(id);
}

std::shared_ptr<const LoadedModel> load_on_ranks(const LoadOptions& options, const RankOptions& wanted,
                                                 const Progress& progress) {
  LoadOptions own = options;
  RankOptions ranks = wanted;
  const TransformerShape shape = shape_of(read_model(options.model));
  if (own.decoder_device.empty() && all_on_gpus(ranks.devices) &&
      last_decodes(ranks.attention, shape, static_cast<int>(ranks.devices.size()))) {
    own.decoder_device = ranks.devices.back();
    ranks.devices.pop_back();
    log(FC_LOG_INFO, own.decoder_device + " decodes, because heads divide by the devices before it");
  }
  const int count = static_cast<int>(ranks.devices.size());
  own.kv_share = kv_share_of(shape, choose_attention_split(ranks.attention, shape, count), count, 0);
  const auto local_cpus =
      static_cast<unsigned>(std::count(ranks.devices.begin(), ranks.devices.end(), "cpu"));
  if (own.threads == 0 && local_cpus > 0) own.threads = std::max(1U, allowed_cpus() / local_cpus);
  const auto team = std::make_shared<Team>(own, ranks, progress);
  if (own.threads > 0 && ranks.devices.front() == "cpu")
    own.threads_alone = std::min(own.threads * local_cpus, allowed_cpus());
  own.device = ranks.devices.front();
  own.ranks = team;
  // The others load at the same time, and may take longer.
  const auto model = LoadedModel::load(
      own, [&](const char* stage, double fraction) { return !progress || progress(stage, 0.95 * fraction); });
  team->form(*model, progress);
  if (progress) progress("ready", 1.0);
  return model;
}

}  // namespace flowcache
