// SPDX-License-Identifier: LGPL-2.1-or-later
// Residuals that are copied out of the device's memory and back in time.
#include "stream/offload.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>

#include "base/error.h"
#include "stream/residual/kept.h"
#include "tiny_model.h"

namespace flowcache {
namespace {

using test::tiny_model;

// The calls of a lane, in order.
struct Traffic {
  std::vector<std::string> log;  // "away", "back", "ready"
  int coming = 0, most_coming = 0;
  int count(const std::string& what) const {
    return static_cast<int>(std::count(log.begin(), log.end(), what));
  }
};

// Copies on a thread of its own, each after a delay, as a device's own stream would. Data that is read too
// early is NaN.
class ThreadLane final : public CopyLane {
 public:
  ThreadLane(Traffic& traffic, std::chrono::milliseconds pause) : traffic_(traffic), pause_(pause) {}
  ~ThreadLane() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    worker_.join();
  }

  at::Tensor away(const at::Tensor& source) override {
    traffic_.log.push_back("away");
    return copy(source).first;
  }
  Arrival back(const at::Tensor& stored) override {
    traffic_.log.push_back("back");
    traffic_.most_coming = std::max(traffic_.most_coming, ++traffic_.coming);
    const auto [tensor, number] = copy(stored);
    return {tensor, [this, number = number] {
              std::unique_lock lock(mutex_);
              wake_.wait(lock, [&] { return done_ >= number; });
              traffic_.log.push_back("ready");
              --traffic_.coming;
            }};
  }

 private:
  std::pair<at::Tensor, int> copy(const at::Tensor& source) {
    const at::Tensor target = at::full_like(source, NAN);
    const std::lock_guard lock(mutex_);
    queue_.push_back([target, source] { target.copy_(source); });
    wake_.notify_all();
    return {target, ++asked_};
  }
  void work() {
    const c10::InferenceMode inference;
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const auto one = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      std::this_thread::sleep_for(pause_);
      one();
      lock.lock();
      ++done_;
      wake_.notify_all();
    }
  }

  Traffic& traffic_;
  const std::chrono::milliseconds pause_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  int asked_ = 0, done_ = 0;
  bool stop_ = false;
  std::thread worker_{[this] { work(); }};
};

TEST(Offload, AValueLeavesAndComesBackWhenItIsFetchedOrTaken) {
  Traffic traffic;
  ThreadLane lane(traffic, std::chrono::milliseconds(5));
  Residuals kept;
  kept.keep(at::full({2}, 4.0F), 2, &lane);
  kept.keep(at::full({2}, 6.0F), 2, &lane);
  EXPECT_EQ(kept.bytes(), 0U);
  EXPECT_TRUE(kept.combined({1.5, -0.5}).equal(at::full({2}, 7.0F)));
  EXPECT_EQ(kept.bytes(), 0U) << "taken values are the caller's";
  kept.fetch();
  kept.fetch();
  EXPECT_EQ(kept.bytes(), 16U);
  EXPECT_TRUE(kept.combined({1.0}).equal(at::full({2}, 6.0F)));
  EXPECT_EQ(traffic.count("back"), 4) << "twice two: what is coming is not asked for again";
}

TEST(Offload, ALayerComesWhileTheOneBeforeItRuns) {
  Traffic traffic;
  ThreadLane lane(traffic, std::chrono::milliseconds(1));
  std::vector<Residuals> layers;
  constexpr int count = 6;
  AttentionPass computed(layers, {}, 1, &lane);
  for (int layer = 0; layer < count; ++layer) computed.keep(layer, at::full({2}, 1.0F * layer));
  AttentionPass reused(layers, {1.0}, 1, &lane);
  for (int layer = 0; layer < count; ++layer)
    EXPECT_TRUE(reused.recall(layer).equal(at::full({2}, 1.0F * layer))) << layer;
  EXPECT_EQ(traffic.most_coming, 2) << "never more than two layers are in the network's memory";
  EXPECT_EQ(traffic.count("back"), count);
  for (size_t i = count; i + 1 < traffic.log.size(); ++i)  // back back ready, back ready, … ready
    EXPECT_FALSE(traffic.log[i] == "ready" && traffic.log[i + 1] == "ready" && i + 2 < traffic.log.size());
}

StreamConfig offload_config(const std::string& cache, int lag) {
  StreamConfig out;
  out.prompt = "fire";
  out.cache = cache;
  out.threshold = 10;  // everything that may be reused is reused
  out.lag = lag;
  return out;
}

// For every policy, however late the copies are.
TEST(OffloadStream, IsBitIdenticalToKeepingEverything) {
  for (const std::string cache :
       {"attention", "teacache:residual=token_residual", "interval:residual=token_residual",
        "dbcache:first_blocks=1", "xchunk:angle=2"}) {
    for (const int lag : {8, 3}) {
      const auto model = tiny_model();
      Stream plain(model, offload_config(cache, lag)), moved(model, offload_config(cache, lag));
      Traffic traffic;
      moved.offload_through(std::make_unique<ThreadLane>(traffic, std::chrono::milliseconds(1)));
      for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(plain.next()->latent.equal(moved.next()->latent))
            << cache << ", lag " << lag << ", " << i;
      EXPECT_GT(moved.stats().steps_reused, 0U) << cache << ", lag " << lag;
      EXPECT_GT(traffic.count("ready"), 0) << cache << ", lag " << lag;
      EXPECT_LT(moved.stats().reuse_bytes, plain.stats().reuse_bytes) << cache << ", lag " << lag;
    }
  }
}

// With several chunks in flight the next chunk's residual is fetched before the current one runs.
TEST(OffloadStream, TheNextChunksResidualComesWhileThisOneRuns) {
  const auto model = tiny_model();
  Stream stream(model, offload_config("interval:interval=4,residual=token_residual", 2));
  Traffic traffic;
  stream.offload_through(std::make_unique<ThreadLane>(traffic, std::chrono::milliseconds(0)));
  for (int i = 0; i < 6; ++i) stream.next();
  EXPECT_EQ(traffic.most_coming, 2);
}

std::string refusal(const std::string& cache, double guidance = 1) {
  StreamConfig bad = offload_config(cache, 8);
  bad.guidance = guidance;
  try {
    Stream stream(tiny_model(), bad);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(OffloadStream, SaysWhereItMakesNoSense) {
  EXPECT_NE(refusal("attention+offload").find("device=cpu: leave +offload out"), std::string::npos);
  EXPECT_NE(refusal("attention+cfg_cache+offload", 3).find("device=cpu"), std::string::npos);
  EXPECT_NE(refusal("ramp+offload").find("not worth moving"), std::string::npos);
  EXPECT_NE(refusal("attention+offlaod").find("there are cfg_cache, and offload"), std::string::npos);
  EXPECT_NE(refusal("attention+cfg_cache+cfg_cache", 3).find("one guidance policy at most"),
            std::string::npos);
}

}  // namespace
}  // namespace flowcache
