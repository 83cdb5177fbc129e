// SPDX-License-Identifier: LGPL-2.1-or-later
// Quality that is reduced while the sink is late, and negative prompts that change while the stream plays.
#include <cmath>

#include "../../gst-plugin/measures.h"
#include "element_test.h"

using namespace element_test;
using flowcache::gst::QosGovernor;

namespace {

constexpr int64_t kLate = kFrame, kEarly = -1000000;

// A chunk of 4 frames of 1/16 s plays for 250 ms. One chunk may be on its way, so the governor waits for 8
// frames.
QosGovernor governor() {
  QosGovernor one;
  one.reset(kFrame, 4, 1);
  return one;
}

TEST(QosGovernor, BeginsAsTheEngineDoes) {
  EXPECT_DOUBLE_EQ(governor().deadline(), 0.8 * 0.25);
  EXPECT_FALSE(governor().tightened());
}

TEST(QosGovernor, HalfAChunkOfLateFramesTightens) {
  QosGovernor one = governor();
  EXPECT_FALSE(one.frame_shown(kLate));
  EXPECT_TRUE(one.frame_shown(kLate));
  EXPECT_DOUBLE_EQ(one.deadline(), 0.72 * 0.25);
  EXPECT_TRUE(one.tightened());
}

TEST(QosGovernor, SingleLateFramesAndSmallJitterDoNothing) {
  QosGovernor one = governor();
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(one.frame_shown(kLate));
    EXPECT_FALSE(one.frame_shown(kFrame / 3));
  }
}

TEST(QosGovernor, WaitsForTheEffectBetweenChanges) {
  QosGovernor one = governor();
  one.frame_shown(kLate);
  ASSERT_TRUE(one.frame_shown(kLate));
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(one.frame_shown(kLate)) << i;
  EXPECT_TRUE(one.frame_shown(kLate));
}

TEST(QosGovernor, HasAFloorAndComesBackSlower) {
  QosGovernor one = governor();
  int down = 0, up = 0;
  for (int i = 0; i < 1000; ++i) down += one.frame_shown(kLate);
  EXPECT_DOUBLE_EQ(one.deadline(), QosGovernor::kTightest * 0.25);
  for (int i = 0; i < 1000; ++i) up += one.frame_shown(kEarly);
  EXPECT_DOUBLE_EQ(one.deadline(), QosGovernor::kEasy * 0.25);
  EXPECT_GT(up, down);
}

double deadline_ms(Source& source) {
  return stat_double(source.element(), "deadline-ms");
}

void sink_reports(Source& source, GstClockTimeDiff late, int times) {
  for (int i = 0; i < times; ++i) {
    gst_harness_push_upstream_event(
        source.harness(), gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 1.5, late, (i + 1) * GST_SECOND));
  }
}

// Pulls frames until the deadline is `wanted`, at most 40.
double deadline_after_frames(Source& source, double wanted) {
  for (int i = 0; i < 40 && std::abs(deadline_ms(source) - wanted) > 0.001; ++i) {
    EXPECT_TRUE(BufferPtr(source.pull()));
  }
  return deadline_ms(source);
}

TEST(Qos, LateSinkTightensTheDeadlineAndAnEarlyOneRelaxesIt) {
  Source source("qos=true cache=auto max-chunks-ahead=1");
  source.play();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_NEAR(deadline_ms(source), 200, 0.001);
  EXPECT_EQ(stat(source.element(), "governor-level"), 0u);
  sink_reports(source, kLate, 2);
  EXPECT_NEAR(deadline_after_frames(source, 180), 180, 0.001);
  EXPECT_EQ(stat(source.element(), "governor-level"), 1u);
  sink_reports(source, kEarly, 200);
  EXPECT_NEAR(deadline_after_frames(source, 200), 200, 0.001);
}

TEST(Qos, OffIsTheDefaultAndSwitchingOffGivesTheDeadlineBack) {
  Source source("cache=auto max-chunks-ahead=1");
  source.play();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  sink_reports(source, kLate, 20);
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_NEAR(deadline_ms(source), 200, 0.001);
  g_object_set(source.element(), "qos", TRUE, nullptr);
  sink_reports(source, kLate, 2);
  EXPECT_NEAR(deadline_after_frames(source, 180), 180, 0.001);
  g_object_set(source.element(), "qos", FALSE, nullptr);
  EXPECT_NEAR(deadline_after_frames(source, 200), 200, 0.001);
}

TEST(Qos, PolicyWithoutADeadlineIsWarnedAboutOnce) {
  Source source("qos=true cache=none max-chunks-ahead=1");
  source.play();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  sink_reports(source, kLate, 20);
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  EXPECT_NE(text_of(warning.get()).find("cache=auto"), std::string::npos);
  EXPECT_FALSE(source.has_message(GST_MESSAGE_WARNING));
  EXPECT_EQ(deadline_ms(source), 0);
}

bool shows(Source& source, const std::string& prompt) {
  for (int i = 0; i < 40; ++i) {
    const BufferPtr buffer(source.pull());
    if (buffer && look_at(buffer.get(), source.info()).hash == hash_of(prompt)) return true;
  }
  return false;
}

TEST(NegativePrompt, ChangesWhilePlaying) {
  Source source("prompt=fire negative-prompt=smoke guidance-scale=3 max-chunks-ahead=1");
  source.play();
  EXPECT_TRUE(shows(source, "fire - smoke"));
  g_object_set(source.element(), "negative-prompt", "ash", nullptr);
  EXPECT_TRUE(shows(source, "fire - ash"));
  g_object_set(source.element(), "negative-prompt", nullptr, nullptr);
  EXPECT_TRUE(shows(source, "fire"));
}

TEST(NegativePrompt, WithoutGuidanceItIsRefusedAndTheStreamGoesOn) {
  Source source("prompt=fire");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  g_object_set(source.element(), "negative-prompt", "ash", nullptr);
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  EXPECT_NE(text_of(warning.get()).find("guidance"), std::string::npos);
  EXPECT_TRUE(shows(source, "fire"));
}

TEST(NegativePrompt, BadOnesWhilePlayingLeaveTheOldOne) {
  Source source("negative-prompt=smoke guidance-scale=3");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  for (const std::string& bad : {std::string(9000, 'x'), std::string("a\xff")}) {
    g_object_set(source.element(), "negative-prompt", bad.c_str(), nullptr);
    ASSERT_TRUE(MessagePtr(source.message(GST_MESSAGE_WARNING)));
    g_autofree char* now = nullptr;
    g_object_get(source.element(), "negative-prompt", &now, nullptr);
    EXPECT_STREQ(now, "smoke");
  }
}

}  // namespace
