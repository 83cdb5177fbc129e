// SPDX-License-Identifier: LGPL-2.1-or-later
// Those parts of the element that are plain numbers.
#include <gst/gst.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>

#include "../../gst-plugin/measures.h"
#include "../../gst-plugin/output.h"
#include "../../gst-plugin/properties.h"
#include "../../gst-plugin/timing.h"

using namespace flowcache::gst;

namespace {

constexpr uint64_t kFrame = 62500000;  // 16 fps

LatencyEstimator estimator() {
  LatencyEstimator e;
  e.reset(kFrame, 12);
  e.add(9.0);  // the first chunk does not count, because it includes the warm-up
  return e;
}

TEST(Latency, FastChunksNeedNoBudget) {
  LatencyEstimator e = estimator();
  EXPECT_FALSE(e.add(0.3));
  EXPECT_FALSE(e.add(0.75));
  EXPECT_EQ(e.budget(), 0u);
}

TEST(Latency, SlowChunkIsRoundedUpToFrames) {
  LatencyEstimator e = estimator();
  EXPECT_TRUE(e.add(0.75 + 0.07));  // 70 ms late: two frames of 62.5 ms
  EXPECT_EQ(e.budget(), 2 * kFrame);
  EXPECT_FALSE(e.add(0.75 + 0.07));  // the same time again changes nothing
}

TEST(Latency, NeverMoreThanAChunk) {
  LatencyEstimator e = estimator();
  EXPECT_TRUE(e.add(100.0));
  EXPECT_EQ(e.budget(), 12 * kFrame);
}

TEST(Latency, ShrinksOnlyAfterAWindowAndByTwoFrames) {
  LatencyEstimator e = estimator();
  e.add(0.75 + 0.18);  // three frames
  int changes = 0;
  for (size_t i = 0; i + 1 < LatencyEstimator::kWindow; ++i) changes += e.add(0.5) ? 1 : 0;
  EXPECT_EQ(changes, 0);
  EXPECT_EQ(e.budget(), 3 * kFrame);
  EXPECT_TRUE(e.add(0.5));  // the slow chunk has left the window
  EXPECT_EQ(e.budget(), 0u);

  LatencyEstimator close = estimator();
  close.add(0.75 + 0.18);
  for (size_t i = 0; i < 3 * LatencyEstimator::kWindow; ++i)
    close.add(0.75 + 0.12);  // two frames late: too small a difference to change the budget
  EXPECT_EQ(close.budget(), 3 * kFrame);
}

TEST(Timeline, GridIsExactForever) {
  Timeline t;
  t.reset(30000, 1001);
  t.anchor(7);
  for (int i = 0; i < 30000; ++i) t.advance();
  EXPECT_EQ(t.pts(), 7 + 1001 * GST_SECOND);  // 30000 frames of 1001/30000 s
  EXPECT_EQ(t.number(), 30000u);
}

TEST(Timeline, DurationsLeaveNoGap) {
  Timeline t;
  t.reset(30000, 1001);
  t.anchor(0);
  for (int i = 0; i < 1000; ++i) {
    const GstClockTime end = t.pts() + t.duration();
    t.advance();
    ASSERT_EQ(t.pts(), end);
  }
}

TEST(Timeline, SkipLandsOnTheGridNotBeforeNow) {
  Timeline t;
  t.reset(16, 1);
  t.anchor(1000);
  t.advance();
  EXPECT_EQ(t.skip_to(1000 + kFrame), 0u);          // in time
  EXPECT_EQ(t.skip_to(1000 + 3 * kFrame + 1), 3u);  // slots 1, 2 and 3 are gone
  EXPECT_EQ(t.number(), 4u);
  EXPECT_EQ(t.pts(), 1000 + 4 * kFrame);
}

TEST(Timeline, ShiftMovesTheGrid) {
  Timeline t;
  t.reset(16, 1);
  t.anchor(0);
  t.advance();
  t.shift_to(kFrame - 1);  // not late
  EXPECT_EQ(t.pts(), kFrame);
  t.shift_to(kFrame + 5);
  EXPECT_EQ(t.pts(), kFrame + 5);
  t.advance();
  EXPECT_EQ(t.pts(), 2 * kFrame + 5);
}

TEST(Timeline, OffsetOfAnySizeStaysInRange) {
  Timeline timeline;
  timeline.reset(16, 1);
  timeline.anchor(5 * GST_SECOND);
  const struct {
    gint64 offset;
    GstClockTime stamp;
  } cases[] = {{0, 5 * GST_SECOND},
               {7, 5 * GST_SECOND + 7},
               {-7, 5 * GST_SECOND - 7},
               {-5 * GST_SECOND, 0},
               {G_MAXINT64, GstClockTime{G_MAXINT64} + 5 * GST_SECOND}};
  for (const auto& one : cases) {
    timeline.set_offset(one.offset);
    EXPECT_EQ(timeline.stamp(), one.stamp) << one.offset;
    EXPECT_EQ(timeline.pts(), 5 * GST_SECOND);
  }
  timeline.set_offset(G_MAXINT64);
  timeline.anchor(GST_CLOCK_TIME_NONE - 5);
  EXPECT_EQ(timeline.stamp(), GST_CLOCK_TIME_NONE - 1);
}

TEST(Timeline, NegativeOffsetMovesTheAnchorToTimestampZero) {
  for (const gint64 offset : {-6 * gint64{GST_SECOND}, G_MININT64}) {
    Timeline timeline;
    timeline.reset(16, 1);
    timeline.set_offset(offset);
    timeline.anchor(5 * GST_SECOND);
    EXPECT_EQ(timeline.pts(), offset == G_MININT64 ? GstClockTime{1} << 63 : 6 * GST_SECOND);
    EXPECT_EQ(timeline.stamp(), 0u);
    timeline.advance();
    EXPECT_EQ(timeline.stamp(), kFrame);
  }
}

TEST(PropertyTable, EveryEntryIsWholeAndHasANameOfItsOwn) {
  std::set<std::string> names;
  for (const Property& property : properties()) {
    EXPECT_TRUE(names.insert(property.name).second) << property.name;
    EXPECT_NE(property.spec, nullptr) << property.name;
    EXPECT_GT(std::string(property.blurb).size(), 20u) << property.name;
    const bool writable = (property.flags & G_PARAM_WRITABLE) != 0;
    EXPECT_EQ(writable, property.read != nullptr && property.write != nullptr) << property.name;
  }
}

TEST(PropertyTable, FillsTheEnginesConfiguration) {
  EngineSettings engine{
      .model = "folder", .device = "cuda:1", .precision = "fp8", .threads = 3, .slice_tokens = 256};
  engine.memory_limit = guint64{3} << 32;
  engine.kv_precision = "int8";
  engine.devices = "cpu,join";
  engine.attention_split = "rows";
  engine.rank_timeout = 2000;
  engine.listen = "127.0.0.1:7000";
  engine.on_lost_rank = "end";
  const fc_engine_config config = engine_config(engine);
  EXPECT_EQ(config.size, sizeof config);
  EXPECT_STREQ(config.model, "folder");
  EXPECT_STREQ(config.device, "cuda:1");
  EXPECT_STREQ(config.precision, "fp8");
  EXPECT_STREQ(config.kv_precision, "int8");
  EXPECT_STREQ(config.devices, "cpu,join");
  EXPECT_STREQ(config.attention_split, "rows");
  EXPECT_EQ(config.rank_timeout, 2000u);
  EXPECT_STREQ(config.listen, "127.0.0.1:7000");
  EXPECT_STREQ(config.on_lost_rank, "end");
  EXPECT_EQ(config.threads, 3u);
  EXPECT_EQ(config.slice_tokens, 256u);
  EXPECT_EQ(config.memory_limit, guint64{3} << 32);
  EXPECT_EQ(config.width, 0u);
}

TEST(PropertyTable, FillsTheStreamsConfiguration) {
  StreamSettings stream{
      .prompt = "fire", .negative_prompt = "smoke", .cache = "none", .seed = 5, .steps = 8, .lag = 4};
  stream.clean_context = CleanContext::On;
  const fc_stream_config config = stream_config(stream);
  EXPECT_EQ(config.size, sizeof config);
  EXPECT_STREQ(config.prompt, "fire");
  EXPECT_STREQ(config.negative_prompt, "smoke");
  EXPECT_STREQ(config.cache, "none");
  EXPECT_EQ(config.kv_cache, nullptr);  // unset
  EXPECT_EQ(config.seed, 5u);
  EXPECT_EQ(config.steps, 8u);
  EXPECT_EQ(config.lag, 4u);
  EXPECT_EQ(config.clean_context, 2u);
  EXPECT_EQ(config.prefix, nullptr);
}

TEST(PropertyTable, NumbersMeanWhatTheEngineMeans) {
  const struct {
    double threshold, guidance, engine_threshold, engine_guidance;
  } cases[] = {{-1, -1, 0, 0}, {0, 0, FC_NEVER, 0}, {0.25, 7, 0.25, 7}};
  for (const auto& one : cases) {
    const fc_stream_config config =
        stream_config({.cache_threshold = one.threshold, .guidance_scale = one.guidance});
    EXPECT_EQ(config.cache_threshold, one.engine_threshold);
    EXPECT_EQ(config.guidance_scale, one.engine_guidance);
  }
}

TEST(Statistics, QuantilesByNearestRank) {
  double values[] = {5, 1, 4, 2, 3};
  EXPECT_EQ(quantile(values, 5, 0.5), 3);
  EXPECT_EQ(quantile(values, 5, 0.95), 5);
  EXPECT_EQ(quantile(values, 1, 0.0), values[0]);
}

TEST(Statistics, FramesPerSecondOverTheLastFrames) {
  Statistics s;
  for (int i = 0; i < 200; ++i) s.frame_pushed(i * 62500, i % 4 == 0);
  const StatisticsSnapshot now = s.snapshot();
  EXPECT_NEAR(now.fps, 16.0, 1e-9);
  EXPECT_EQ(now.frames, 200u);
  EXPECT_EQ(now.repeated, 50u);
}

TEST(Prompt, LimitAndEncoding) {
  EXPECT_FALSE(prompt_problem(""));
  EXPECT_FALSE(prompt_problem("größer als nötig"));
  EXPECT_FALSE(prompt_problem(std::string(8192, 'a')));
  const auto long_one = prompt_problem(std::string(10240, 'a'));
  ASSERT_TRUE(long_one);
  EXPECT_NE(long_one->find("10240"), std::string::npos);
  EXPECT_NE(long_one->find("8192"), std::string::npos);
  const auto bad = prompt_problem("ab\xff\xfe");
  ASSERT_TRUE(bad);
  EXPECT_NE(bad->find("byte 2"), std::string::npos);
}

TEST(Waiter, EachReasonEndsAWait) {
  Waiter w;
  EXPECT_EQ(w.wait([] { return true; }, nullptr, GST_CLOCK_TIME_NONE, w.pauses()), Waiter::Result::Ready);
  w.interrupt();
  EXPECT_EQ(w.wait([] { return true; }, nullptr, GST_CLOCK_TIME_NONE, w.pauses()),
            Waiter::Result::Interrupted);
  w.resume();
  GstClock* clock = gst_system_clock_obtain();
  const GstClockTime soon = gst_clock_get_time(clock) + GST_MSECOND;
  EXPECT_EQ(w.wait([] { return false; }, clock, soon, w.pauses()), Waiter::Result::TimeReached);
  w.pause();
  EXPECT_EQ(w.wait([] { return false; }, clock, soon + 3600 * GST_SECOND, w.pauses()),
            Waiter::Result::Paused);
  const guint64 before = w.pauses();
  w.unpause();
  w.pause();
  w.unpause();
  // A pause that is already over has changed the base time, too.
  EXPECT_EQ(w.wait([] { return true; }, clock, soon + 3600 * GST_SECOND, before), Waiter::Result::Paused);
  bool ready = false;
  std::thread other([&] {
    g_usleep(1000);
    w.interrupt();
  });
  EXPECT_EQ(w.wait([&] { return ready; }, clock, soon + 3600 * GST_SECOND, w.pauses()),
            Waiter::Result::Interrupted);
  other.join();
  gst_object_unref(clock);
}

GstPad* new_pad() {
  return GST_PAD(gst_object_ref_sink(gst_pad_new(nullptr, GST_PAD_SRC)));
}

// Each call of ask() has its own place. set_context() on the same thread fills it; on another thread it does
// not.
TEST(ContextSlot, EachThreadWritesToItsOwnPlace) {
  GstPad *mine = new_pad(), *other = new_pad();
  {
    ContextSlot<GstPad> slot;
    EXPECT_TRUE(slot.ask([&](GstPad** place) {
      EXPECT_EQ(*place, nullptr);
      std::thread application([&] { slot.put(GST_PAD(gst_object_ref(other))); });
      application.join();
      EXPECT_EQ(*place, nullptr);
      slot.put(GST_PAD(gst_object_ref(mine)));
      EXPECT_EQ(*place, mine);
      return true;
    }));
    GstPad* now = slot.ref();
    EXPECT_EQ(now, mine);
    gst_object_unref(now);
    EXPECT_FALSE(slot.ask([&](GstPad** place) {
      EXPECT_EQ(*place, mine);
      gst_clear_object(place);
      return false;
    }));
    EXPECT_TRUE(slot.has());  // a helper that fails does not empty the slot
    slot.put(nullptr);
    EXPECT_FALSE(slot.has());
  }
  EXPECT_EQ(GST_OBJECT_REFCOUNT_VALUE(mine), 1);
  EXPECT_EQ(GST_OBJECT_REFCOUNT_VALUE(other), 1);
  gst_object_unref(mine);
  gst_object_unref(other);
}

}  // namespace
