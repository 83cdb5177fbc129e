// SPDX-License-Identifier: LGPL-2.1-or-later
// Workers that are killed, stopped or slow, and what is left of them.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "parallel/exchange.h"
#include "ranks.h"

using namespace flowcache;
using namespace flowcache::test;

namespace {

class Failures : public testing::Test {
 protected:
  Failures() : before_(children()), model_(std::make_unique<OnRanks>(tiny_wan(4), 3, "", 3000)) {}

  std::vector<pid_t> workers() const {
    std::vector<pid_t> own = children();
    std::erase_if(own, [&](pid_t one) { return std::count(before_.begin(), before_.end(), one) > 0; });
    return own;
  }
  // Plays until the second step of the second chunk, where `happens` is called, and on. Returns the error's sentence.
  std::string play_with(const std::function<void()>& happens) {
    Stream stream(model_->together, config_of("none"));
    stream.next();
    int steps = 0;
    stream.watch_computed([&](const ChunkStep&, const at::Tensor&) {
      if (++steps == 2) happens();
    });
    const auto begin = std::chrono::steady_clock::now();
    std::string said;
    try {
      stream.next();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FC_ERROR_DEVICE);
      said = error.what();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
    // It stays so, for this stream and for others of the engine.
    EXPECT_EQ(message_of([&] { stream.next(); }), said);
    EXPECT_EQ(message_of([&] { Stream other(model_->together, config_of("none")); }), said);
    return said;
  }

  const c10::InferenceMode inference_;
  std::vector<pid_t> before_;
  std::unique_ptr<OnRanks> model_;
};

TEST_F(Failures, AKilledWorkerEndsTheStream) {
  const pid_t victim = workers().at(1);
  const std::string said = play_with([&] { kill(victim, SIGKILL); });
  EXPECT_NE(said.find("process " + std::to_string(victim) + ") was ended by signal 9"), std::string::npos)
      << said;
  EXPECT_TRUE(workers().empty());
}

TEST_F(Failures, AStoppedWorkerEndsTheStreamInTime) {
  const pid_t victim = workers().at(0);
  const std::string said = play_with([&] { kill(victim, SIGSTOP); });
  EXPECT_NE(said.find("process " + std::to_string(victim) + ") is stopped"), std::string::npos) << said;
  EXPECT_TRUE(workers().empty());
}

TEST_F(Failures, ASlowWorkerIsWaitedFor) {
  const pid_t victim = workers().at(0);
  const Played wanted = play(model_->alone, config_of("none"), 2);
  Stream stream(model_->together, config_of("none"));
  stream.next();
  std::thread wakes;
  stream.watch_computed([&](const ChunkStep& step, const at::Tensor&) {
    if (step.info.step != 2) return;
    kill(victim, SIGSTOP);
    wakes = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      kill(victim, SIGCONT);
    });
  });
  EXPECT_LE((stream.next()->latent - wanted.latents[1]).abs().max().item<double>(), 1e-4);
  wakes.join();
}

TEST_F(Failures, NoProcessStaysBehind) {
  EXPECT_EQ(workers().size(), 2U);
  play(model_->together, config_of("none"), 1);
  model_.reset();
  EXPECT_TRUE(workers().empty());
}

// Neither when the caller's process is killed: the workers notice.
TEST_F(Failures, NorWhenRankZeroIsKilled) {
  const std::string folder = model_->folder.path.string();
  const std::string command = std::string(std::getenv("FLOWCACHE_PROGRAM")) +
                              " generate aurora -m random:" + folder +
                              " --devices cpu,cpu --threads 1 -s 100000 -o - > /dev/null 2>&1";
  const pid_t caller = fork();
  if (caller == 0) {
    execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), nullptr);
    _exit(127);
  }
  const auto worker_of = [&] {
    std::ifstream list("/proc/" + std::to_string(caller) + "/task/" + std::to_string(caller) + "/children");
    pid_t worker = 0;
    list >> worker;
    return worker;
  };
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  pid_t worker = 0;
  while (worker == 0 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    worker = worker_of();
  }
  ASSERT_NE(worker, 0);
  std::this_thread::sleep_for(std::chrono::seconds(2));  // it loads, or works
  kill(caller, SIGKILL);
  waitpid(caller, nullptr, 0);
  while (kill(worker, 0) == 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_NE(kill(worker, 0), 0) << "process " << worker << " still runs";
}

// And no signal to this process, which has set nothing up for it.
TEST(Exchanging, AConnectionThatIsClosedIsAnError) {
  for (int round = 0; round < 20; ++round) {
    const TempFolder folder;
    const auto open = [&](int rank) {
      return std::make_unique<Exchange>(Meeting{.folder = folder.path.string(),
                                                .secret = "secret",
                                                .address = "127.0.0.1",
                                                .rank = rank,
                                                .ranks = 2,
                                                .timeout = std::chrono::seconds(5)});
    };
    std::unique_ptr<Exchange> one, two;
    std::thread other([&] { two = open(1); });
    one = open(0);
    other.join();
    std::thread leaves([&] { two.reset(); });
    const auto give = [&] { one->all_to_all(at::ones({1000}), {0, 1000}, {0, 0}); };
    EXPECT_THROW(while (true) give(), LostRank);
    EXPECT_THROW(give(), LostRank);
    leaves.join();
  }
}

TEST(Loading, AProgramThatIsNotThereIsNamed) {
  const c10::InferenceMode inference;
  const std::string program = std::getenv("FLOWCACHE_PROGRAM");
  setenv("FLOWCACHE_PROGRAM", "/no/such/program", 1);
  EXPECT_NE(message_of([] { OnRanks(tiny_wan(4), 2); }).find("\"/no/such/program\" cannot be started"),
            std::string::npos);
  setenv("FLOWCACHE_PROGRAM", "/bin/true", 1);
  EXPECT_NE(message_of([] { OnRanks(tiny_wan(4), 2); }).find("has ended with status 0 before it had loaded"),
            std::string::npos);
  setenv("FLOWCACHE_PROGRAM", program.c_str(), 1);
}

TEST(Loading, WhatAWorkerCannotLoadIsSaid) {
  const c10::InferenceMode inference;
  TempFolder folder;
  folder.write("model.json", tiny_wan(4).dump());
  const LoadOptions options{
      .model = "random:" + folder.path.string(), .device = "cpu", .precision = "fp32", .threads = 1};
  const std::string said = message_of([&] {
    load_on_ranks(options, {.devices = {"cpu", "cuda:7"}}, nullptr);
  });
  EXPECT_NE(said.find("rank 1 (cuda:7, process"), std::string::npos) << said;
}

TEST(Loading, CanBeCancelled) {
  const c10::InferenceMode inference;
  TempFolder folder;
  folder.write("model.json", tiny_wan(4).dump());
  const LoadOptions options{
      .model = "random:" + folder.path.string(), .device = "cpu", .precision = "fp32", .threads = 1};
  EXPECT_THROW(load_on_ranks(options, {.devices = {"cpu", "cpu"}},
                             [](const char*, double done) { return done < 0.5; }),
               Error);
}

}  // namespace
