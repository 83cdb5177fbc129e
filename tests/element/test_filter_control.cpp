// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter: what can be changed and seen while it runs.
#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>

#include <cmath>

#include "filter_test.h"

using namespace filter_test;

namespace {

TEST(Filter, StrengthHoldsFromTheNextChunkOnWithAReceipt) {
  Filter filter("strength=0.25");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  g_object_set(filter.element(), "strength", std::nan(""), nullptr);  // ignored
  g_object_set(filter.element(), "strength", 0.75, nullptr);
  filter.push_frames(4, 8);
  for (int i = 4; i < 8; ++i) ASSERT_TRUE(filter.pull());
  for (const auto& [strength, chunk] : {std::pair{0.25, 0}, std::pair{0.75, 1}}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    const GstStructure* s = gst_message_get_structure(receipt.get());
    double given = -1;
    guint64 from = 99, pts = 0;
    gst_structure_get_double(s, "strength", &given);
    gst_structure_get_uint64(s, "chunk", &from);
    gst_structure_get_uint64(s, "pts", &pts);
    EXPECT_EQ(given, strength);
    EXPECT_EQ(from, static_cast<guint64>(chunk));
    EXPECT_EQ(pts, static_cast<GstClockTime>(4 * chunk) * kFrame);
  }
}

TEST(Filter, PromptsHaveReceipts) {
  Filter filter("prompt=\"orange fire\"");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(look_at(sample.get()).hash, hash_of("orange fire"));
  }
  g_object_set(filter.element(), "prompt", "blue snow", nullptr);
  const MessagePtr received = filter.prompt_message("blue snow", "received");
  ASSERT_TRUE(received);
  filter.push_frames(4, 8);
  const SamplePtr sample = filter.pull();
  ASSERT_TRUE(sample);
  EXPECT_EQ(look_at(sample.get()).hash, hash_of("blue snow"));
  const MessagePtr applied = filter.prompt_message("blue snow", "applied");
  ASSERT_TRUE(applied);
  guint64 pts = 0;
  gst_structure_get_uint64(gst_message_get_structure(applied.get()), "pts", &pts);
  EXPECT_EQ(pts, 4 * kFrame);
}

TEST(Filter, SharesItsEngineWithASourceAndAnotherFilter) {
  const int opened = element_test::fake().opened_engines();
  EXPECT_EQ(run_to_end("flowcachesrc is-live=false num-buffers=16 ! tee name=t "
                       "t. ! queue ! flowcachefilter ! fakesink sync=false "
                       "t. ! queue ! flowcachefilter strength=0.2 ! fakesink sync=false"),
            "");
  EXPECT_EQ(element_test::fake().opened_engines(), opened + 1);
}

// A reset begins at chunk 0 again, and no frame is lost or shown at another one's time.
TEST(Filter, AResetLosesNoFrame) {
  Filter filter("");
  filter.push_frames(0, 8);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(filter.pull());
  g_signal_emit_by_name(filter.element(), "reset", guint64{7});
  filter.push_frames(8, 16);
  filter.end();
  for (int i = 5; i < 16; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << i;
    EXPECT_EQ(fed_of(sample), i);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
    EXPECT_EQ(look_at(sample.get()).number, static_cast<uint32_t>(i < 8 ? i : i - 8));
  }
}

// The property's controller takes the time of the chunk's first frame.
TEST(Filter, StrengthCanBeControlled) {
  Filter filter("");
  GstControlSource* source = gst_interpolation_control_source_new();
  g_object_set(source, "mode", GST_INTERPOLATION_MODE_NONE, nullptr);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(source), 0, 0.25);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(source), 4 * kFrame, 0.5);
  gst_object_add_control_binding(
      GST_OBJECT(filter.element()),
      gst_direct_control_binding_new_absolute(GST_OBJECT(filter.element()), "strength", source));
  gst_object_unref(source);
  filter.push_frames(0, 8);
  for (const double wanted : {0.25, 0.5}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    double strength = -1;
    gst_structure_get_double(gst_message_get_structure(receipt.get()), "strength", &strength);
    EXPECT_EQ(strength, wanted);
  }
}

}  // namespace
