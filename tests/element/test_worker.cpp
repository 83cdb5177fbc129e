// SPDX-License-Identifier: LGPL-2.1-or-later
// The worker's thread against everybody who talks to it at once. All locks are the C++ library's, so that
// ThreadSanitizer sees all of them (./test.sh --tsan).
#include <atomic>
#include <thread>

#include "../../gst-plugin/worker.h"
#include "element_test.h"

using namespace element_test;
using flowcache::gst::EngineLibrary;
using flowcache::gst::Frame;
using flowcache::gst::FrameWorker;
using flowcache::gst::kNoTime;
using flowcache::gst::PromptChange;
using flowcache::gst::PromptReceipt;

namespace {

class Counter : public flowcache::gst::FrameWorkerListener {
 public:
  void thread_entered() override {}
  void thread_left() override {}
  void load_progress(const char*, double) override {}
  void loaded(const std::string&, const std::string&) override { ++loads; }
  void load_cancelled() override {}
  void prompt_received(const PromptReceipt&) override { ++receipts; }
  void stream_reset() override { ++resets; }
  void change_refused(const char*, const std::string&) override { ++refusals; }
  void chunk_expected(double) override {}
  void chunk_finished(const fc_chunk_info& chunk, const fc_stream_stats&, double) override {
    seed = chunk.seed;
    ++chunks;
  }
  void prompt_overtaken(const PromptChange&) override { ++receipts; }
  void lora_changed(const flowcache::gst::LoraReceipt&) override {}
  void prompts_fewer() override {}
  void ended(const std::string&) override {}
  void failed(fc_status, const std::string&, bool) override { ++failures; }
  uint64_t now() override { return 0; }
  uint64_t frames_until(uint64_t, uint64_t) override { return 0; }
  void ring_changed() override {}

  std::atomic<int> loads{0}, receipts{0}, resets{0}, refusals{0}, chunks{0}, failures{0};
  std::atomic<uint64_t> seed{UINT64_MAX};  // of the last finished chunk
};

const EngineLibrary& library() {
  std::string error;
  const EngineLibrary* opened = EngineLibrary::open(&error);
  if (opened == nullptr) g_error("%s", error.c_str());
  return *opened;
}

// Takes frames until `more` returns false. Returns false if a frame was out of order.
bool consume(FrameWorker& worker, const std::function<bool()>& more) {
  uint64_t before = 0;
  while (more()) {
    Frame frame;
    if (worker.peek(&frame) != FrameWorker::RingState::Ready) {
      std::this_thread::yield();
      continue;
    }
    const uint64_t number = frame.chunk->info().chunk * frame.chunk->info().frames + frame.index;
    if (number != 0 && number < before) return false;  // 0: a reset
    before = number;
    std::vector<uint8_t> pixels(64 * 48 * 4);
    fc_planes planes{};
    planes.size = sizeof planes;
    planes.plane[0] = pixels.data();
    planes.stride[0] = 64 * 4;
    std::string error;
    if (frame.chunk->write(frame.index, planes, &error) != FC_OK) return false;
    worker.advance(frame, 0);
  }
  return true;
}

TEST(Worker, EverybodyAtOnce) {
  Counter counter;
  flowcache::gst::StreamOptions options;
  options.settings.prompt = "fire";
  options.settings.cache = "auto";
  options.settings.guidance_scale = 3;
  options.script = {{0, "first"}, {5, "second"}, {9, "third"}};
  FrameWorker worker({&library(), {.model = "fake"}}, options, 2, &counter);
  worker.start();
  constexpr int kRounds = 200, kResets = 20;
  std::atomic<int> talking{3};
  std::thread prompts([&] {
    for (int i = 0; i < kRounds; ++i) {
      worker.change_prompt(PromptChange{"snow", i % 2 == 0 ? kNoTime : uint64_t(i), 0});
      worker.change_negative_prompt("smoke");
      std::this_thread::yield();
    }
    --talking;
  });
  std::thread numbers([&] {
    for (int i = 0; i < kRounds; ++i) {
      worker.tune(0.1 + i * 0.001, FC_AUTO);
      worker.set_deadline(0.1);
      worker.frames_ready();
      worker.engine();
      std::this_thread::yield();
    }
    --talking;
  });
  std::thread resets([&] {
    for (int i = 0; i < kResets; ++i) {
      worker.reset(i);
      g_usleep(500);
    }
    --talking;
  });
  const bool in_order = consume(worker, [&] { return talking > 0 || counter.seed != kResets - 1; });
  prompts.join();
  numbers.join();
  resets.join();
  EXPECT_TRUE(consume(worker, [&, last = counter.chunks.load()] { return counter.chunks < last + 4; }));
  worker.stop();
  EXPECT_TRUE(in_order);
  EXPECT_EQ(counter.loads, 1);
  EXPECT_GE(counter.resets, 1);  // of several resets between two chunks only the last one is made
  EXPECT_LE(counter.resets, kResets);
  EXPECT_EQ(counter.refusals, 0);
  EXPECT_EQ(counter.failures, 0);
  EXPECT_GE(counter.receipts, kRounds);
}

// The worker can be stopped at any time, also while it loads the model or makes a chunk.
TEST(Worker, StopsAtAnyTime) {
  for (int i = 0; i < 50; ++i) {
    Counter counter;
    FrameWorker worker({&library(), {.model = "fake:load_ms=4,chunk_ms=3"}}, {}, 2, &counter);
    worker.start();
    g_usleep(i * 200);
    worker.stop();
    EXPECT_EQ(counter.failures, 0);
  }
  EXPECT_EQ(element_test::fake().live_streams(), 0);
  EXPECT_EQ(element_test::fake().live_chunks(), 0);
}

// When the worker's state is "failed", the reason has already been reported.
TEST(Worker, TellsTheReasonBeforeItHasFailed) {
  struct Listener : Counter {
    void failed(fc_status status, const std::string& sentence, bool loading) override {
      Counter::failed(status, sentence, loading);
      seen = worker->peek(nullptr);
    }
    FrameWorker* worker = nullptr;
    FrameWorker::RingState seen = FrameWorker::RingState::Failed;
  } listener;
  FrameWorker worker({&library(), {.model = "fake:fail_open=5"}}, {}, 2, &listener);
  listener.worker = &worker;
  worker.start();
  EXPECT_TRUE(eventually([&] { return worker.peek(nullptr) == FrameWorker::RingState::Failed; }));
  EXPECT_EQ(listener.failures, 1);
  worker.stop();
  EXPECT_EQ(listener.seen, FrameWorker::RingState::Empty);
}

}  // namespace
