// SPDX-License-Identifier: LGPL-2.1-or-later
// Rank 0's side: the workers, what they are told, and what follows when one of them fails.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "parallel/door.h"
#include "parallel/exchange.h"
#include "parallel/parallel.h"
#include "parallel/plan.h"
#include "parallel/processes.h"

namespace flowcache {

// Thread-safe. A team that has lost a worker either goes on without it, in a new generation with new stores, or is of no use any
// more: every call that needs it then throws the same sentence.
class Team final : public Ranks, public std::enable_shared_from_this<Team> {
 public:
  // Starts the workers of this machine and lets the others in; they begin to load. Throws the errors of load_on_ranks().
  Team(const LoadOptions& options, const RankOptions& ranks, const Progress& progress);
  // Tells the workers to end, and waits for those of this machine.
  ~Team() override;

  int count() const override { return count_; }
  bool goes_on() const override { return goes_on_; }
  uint64_t generation() const override;
  std::unique_ptr<Transformer> split(std::unique_ptr<Transformer> whole) override;
  KvGeometry share(const KvGeometry& whole, int branch, int branches) const override;
  int branches_kept(int branches) const override { return by_branch(branches) ? 1 : branches; }
  std::unique_ptr<KvFollower> follow(uint64_t generation, const KvGeometry& share, int64_t budget_tokens,
                                     const std::string& policy, int branch, int branches) override;
  // True: each of the two ranks runs a guidance branch of its own, which exchanges no more than tokens.
  bool by_branch(int branches) const;
  // Whether this store's branch runs on rank 1 alone, or here alone, and not on both.
  enum class Place { shared, here, elsewhere };
  Place place_of(int store) const;
  // False: it is of a generation that is over.
  bool has_store(int store) const;
  void forget_store(int store);
  // Asks rank 1. Throws FC_ERROR_DEVICE or RanksChanged.
  std::map<int64_t, int64_t> held_chunks(int store);

  // Waits until all have loaded the same as `own`, and makes the group. progress as in LoadedModel::load().
  void form(const LoadedModel& own, const Progress& progress);

  // While it is held, orders and the exchanges that belong to them are this thread's.
  std::unique_lock<std::recursive_mutex> hold() { return std::unique_lock(mutex_); }
  // An order for all workers. Throws nothing: the next check() does, if it could not be given.
  void order(const nlohmann::json& what);
  // At any time, also while the team is held: the workers forget a condition with the next order.
  void forget_condition(uint64_t id);
  // Throws as fail() does, if the team has lost a worker.
  void check();
  // The same, and RanksChanged if the store is of a generation that is over. Negative: of none.
  void check(int store);
  // Finds out which worker has failed. Ends the team and throws FC_ERROR_DEVICE, or makes one of the others and throws
  // RanksChanged. Called where `error` was caught.
  [[noreturn]] void fail(const std::string& error);
  // This process has failed in the middle of an exchange: ends the team.
  void abandon(const std::string& why);
  Exchange& exchange() const { return *exchange_; }
  bool uses_nccl() const { return nccl_; }
  AttentionSplit attention() const { return attention_; }
  uint64_t next_id() { return ++last_id_; }

 private:
  struct Worker {
    size_t rank = 0;  // at first; later ranks have other numbers
    std::string device;
    std::optional<WorkerProcess> process;  // of this machine
    Channel joined;                        // of another one
    std::string card;                      // see card_of()
    std::string lost;                      // why it is of no use any more; "" while it is
    Channel& channel() { return process ? process->channel : joined; }
    std::string name() const;
    void part();  // closes the channel, and ends its process
  };
  void start_workers(const LoadOptions& options, const RankOptions& ranks, const Progress& progress);
  void wait_for(size_t index, const nlohmann::json& own, const Progress& progress);
  void meet();
  bool have_a_card_each() const;
  std::string why_failed(const std::string& error);
  void give_up(const std::string& why);
  void call_roll(const std::string& error);
  void go_on(std::string error);

  std::vector<Worker> workers_;  // rank 1 on
  std::atomic<int> count_{1};    // of them and this process
  bool goes_on_ = true, nccl_ = false;
  uint64_t generation_ = 1;
  std::chrono::milliseconds timeout_;
  std::string attention_wish_, listen_host_, card_;
  at::Device device_ = at::kCPU;
  AttentionSplit attention_ = AttentionSplit::heads;
  TransformerShape shape_;
  std::unique_ptr<Exchange> exchange_;
  mutable std::recursive_mutex mutex_;
  std::string broken_;
  uint64_t last_id_ = 0;
  std::set<int> stores_;         // of this generation
  std::map<int, Place> places_;  // of those that are not shared
  std::mutex forgotten_mutex_;
  std::vector<uint64_t> forgotten_;  // conditions
};

}  // namespace flowcache
