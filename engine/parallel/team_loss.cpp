// SPDX-License-Identifier: LGPL-2.1-or-later
// When a worker fails: who it is, and whether the team goes on without it.
#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "parallel/team.h"

namespace flowcache {

void Team::check() {
  const auto held = hold();
  if (!broken_.empty()) throw Error(FC_ERROR_DEVICE, broken_);
  for (const Worker& worker : workers_)
    if (!worker.lost.empty()) fail(worker.lost);
}

void Team::check(int store) {
  const auto held = hold();
  check();
  if (store >= 0 && !has_store(store)) throw RanksChanged();
}

void Team::fail(const std::string& error) {
  const auto held = hold();
  if (broken_.empty() && goes_on_) {
    go_on(error);
    throw RanksChanged();
  }
  if (broken_.empty()) give_up(why_failed(error));
  throw Error(FC_ERROR_DEVICE, broken_);
}

// Each round has fewer ranks, so it ends.
void Team::go_on(std::string error) {
  const int before = count();
  std::string lost;
  while (true) {
    exchange_.reset();  // the others notice at once
    call_roll(error);
    std::vector<Worker> left;
    for (Worker& worker : workers_) {
      if (worker.lost.empty()) {
        left.push_back(std::move(worker));
        continue;
      }
      lost += (lost.empty() ? "" : "; ") + worker.name() + " " + worker.lost;
      worker.part();
    }
    workers_ = std::move(left);
    count_ = static_cast<int>(1 + workers_.size());
    ++generation_;
    stores_.clear();
    places_.clear();
    try {
      meet();
      break;
    } catch (const LostRank& again) {
      error = again.what();
    }
  }
  log(FC_LOG_WARNING, lost + "; the stream goes on with " + std::to_string(count()) + " of " +
                          std::to_string(before) + " devices, with its history made anew");
}

// Finds out who is lost: all that do not answer in time; if all do, the one that answers last.
void Team::call_roll(const std::string& error) {
  const uint64_t number = next_id();
  const auto until = std::chrono::steady_clock::now() + timeout_;
  std::vector<Worker*> asked;
  Worker* last = nullptr;
  bool all = true;
  for (Worker& worker : workers_) {
    if (worker.lost.empty() && worker.process) worker.lost = worker.process->trouble();
    if (worker.lost.empty() && !worker.channel().send({{"do", "here"}, {"number", number}}, timeout_))
      worker.lost = "does not take orders";
    if (worker.lost.empty())
      asked.push_back(&worker);
    else
      all = false;
  }
  while (!asked.empty() && std::chrono::steady_clock::now() < until)
    std::erase_if(asked, [&](Worker* worker) {
      try {
        const auto answer = worker->channel().receive(std::chrono::milliseconds(10));
        if (answer && answer->contains("error")) worker->lost = "says: " + answer->value("error", "");
        if (answer && answer->value("here", uint64_t{0}) == number) last = worker;
      } catch (const std::exception& nonsense) {
        worker->lost = nonsense.what();
      }
      if (worker->lost.empty() && last != worker && !worker->channel().alive()) worker->lost = "is gone";
      return !worker->lost.empty() || last == worker;
    });
  const std::string in_time = " within " + std::to_string(timeout_.count()) + " ms";
  for (Worker* worker : asked) worker->lost = "does not answer" + in_time;
  for (Worker& worker : workers_) {
    // What ended a process is known a moment after its socket is closed.
    for (int i = 0; i < 20 && worker.process && worker.lost == "is gone"; ++i) {
      if (const std::string trouble = worker.process->trouble(); !trouble.empty()) worker.lost = trouble;
      if (worker.lost == "is gone") std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    all &= worker.lost.empty();
  }
  if (all && last) last->lost = "was the last to answer after an exchange had failed (" + error + ")";
}

void Team::abandon(const std::string& why) {
  const auto held = hold();
  if (broken_.empty()) give_up("rank 0 has failed: " + why);
}

// The worker that is gone or stopped; else one that says why it has failed; else the error itself.
std::string Team::why_failed(const std::string& error) {
  std::string said, silent;
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < workers_.size(); ++i) {
      Worker& worker = workers_[i];
      const std::string name = worker.name();
      try {
        const auto answer = worker.channel().receive(std::chrono::milliseconds(round == 0 ? 0 : 100));
        if (answer && answer->contains("error") && !answer->value("lost", false))
          said = name + ": " + answer->at("error").get<std::string>();
      } catch (const std::exception& nonsense) {
        said = name + ": " + nonsense.what();
      }
      const std::string trouble = worker.process ? worker.process->trouble() : "";
      if (!said.empty()) return said;
      if (trouble.find("signal") != std::string::npos || trouble == "is stopped") return name + " " + trouble;
      if (!worker.process && !worker.channel().alive() && silent.empty()) silent = name + " is gone";
      if (!trouble.empty() && silent.empty()) silent = name + " " + trouble;
    }
  }
  if (!silent.empty()) return silent;
  return "a rank did not answer within " + std::to_string(timeout_.count()) + " ms: " + error;
}

void Team::give_up(const std::string& why) {
  broken_ = "the stream over " + std::to_string(count()) + " devices has ended, because " + why +
            "; open the engine anew, with fewer devices if one is missing";
  log(FC_LOG_ERROR, broken_);
  for (Worker& worker : workers_) worker.part();
}

}  // namespace flowcache
