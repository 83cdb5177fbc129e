// SPDX-License-Identifier: LGPL-2.1-or-later
// The default policy of live streams, and the warning if the machine is too slow even for that.
#include "../../gst-plugin/measures.h"
#include "element_test.h"

using namespace element_test;
using flowcache::gst::SpeedWatch;

namespace {

bool governed(GstElement* element) {
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  gboolean value = FALSE;
  EXPECT_TRUE(gst_structure_get_boolean(stats, "governed", &value));
  gst_structure_free(stats);
  return value != FALSE;
}

TEST(Governed, ALiveStreamIsUnlessItsPolicyIsChosen) {
  const std::pair<const char*, bool> cases[] = {{"", true},
                                                {"is-live=true", true},
                                                {"cache=auto", true},
                                                {"cache=none", false},
                                                {"is-live=false", false}};
  for (const auto& [properties, wanted] : cases) {
    Source source(properties);
    source.play();
    ASSERT_TRUE(BufferPtr(source.pull()));
    EXPECT_EQ(governed(source.element()), wanted) << properties;
    EXPECT_EQ(stat_double(source.element(), "deadline-ms") > 0, wanted) << properties;
  }
}

// A chunk of four frames plays for 250 ms.
TEST(Governed, AMachineThatIsTooSlowAtAnyQualityIsSaidOnce) {
  Source source("model=fake:report_ms=300,least_ms=280 max-chunks-ahead=8");
  source.play();
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  const std::string text = text_of(warning.get());
  for (const char* part : {"250 ms", "280 ms", "smaller picture", "threads", "smaller model"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  ASSERT_TRUE(eventually([&] { return stat(source.element(), "chunks") >= 8; }));
  EXPECT_FALSE(source.has_message(GST_MESSAGE_WARNING));
}

TEST(Governed, WithQualityLeftToGiveNothingIsSaid) {
  for (const char* properties : {"model=fake:report_ms=300,least_ms=200 max-chunks-ahead=8",
                                 "model=fake:report_ms=200,least_ms=300 max-chunks-ahead=8",
                                 "model=fake:report_ms=300 cache=none is-live=false max-chunks-ahead=8"}) {
    Source source(properties);
    source.play();
    ASSERT_TRUE(eventually([&] { return stat(source.element(), "chunks") >= 8; }));
    EXPECT_FALSE(source.has_message(GST_MESSAGE_WARNING)) << properties;
  }
}

TEST(Governed, APolicyChosenByHandIsPartOfTheRemedy) {
  Source source("model=fake:report_ms=300 cache=none max-chunks-ahead=8");
  source.play();
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  EXPECT_NE(text_of(warning.get()).find("unset `cache`"), std::string::npos) << text_of(warning.get());
}

TEST(SpeedWatch, WarnsOnceForASlowSpellAndAgainAfterALongRecovery) {
  SpeedWatch watch;
  watch.reset(1);
  const auto warnings = [&](int chunks, double seconds, double least) {
    int count = 0;
    for (int i = 0; i < chunks; ++i) count += watch.add(seconds, least);
    return count;
  };
  EXPECT_EQ(warnings(SpeedWatch::kPatience - 1, 1.5, 1.2), 0) << "it may be over soon";
  EXPECT_EQ(warnings(1, 0.9, 1.2), 0);
  EXPECT_EQ(warnings(SpeedWatch::kPatience - 1, 1.5, 1.2), 0);
  EXPECT_EQ(warnings(1, 1.5, 1.2), 1);
  EXPECT_EQ(warnings(100, 1.5, 1.2), 0);
  EXPECT_EQ(warnings(SpeedWatch::kRecovery - 1, 0.5, 0.5), 0);
  EXPECT_EQ(warnings(100, 1.5, 1.2), 0) << "that was no recovery";
  EXPECT_EQ(warnings(SpeedWatch::kRecovery, 0.5, 0.5), 0);
  EXPECT_EQ(warnings(100, 1.5, 1.2), 1);
  watch.reset(1);
  EXPECT_EQ(warnings(100, 1.5, 0.8), 0) << "less could be computed";
  EXPECT_EQ(warnings(100, 1.5, 0), 1) << "not governed";
}

// Each loss is told once; until then, and without one, nothing is.
TEST(Devices, ALossIsAWarning) {
  Source source("is-live=false model=fake:lose_at=2");
  source.play();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  for (int i = 8; i < 24; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  for (const char* words : {"3 devices and goes on with 2", "2 devices and goes on with 1"}) {
    const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
    ASSERT_TRUE(warning);
    EXPECT_NE(text_of(warning.get()).find(words), std::string::npos) << text_of(warning.get());
  }
  EXPECT_FALSE(source.has_message(GST_MESSAGE_WARNING));
}

}  // namespace
