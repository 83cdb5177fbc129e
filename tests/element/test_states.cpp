// SPDX-License-Identifier: LGPL-2.1-or-later
// States, loading, restarts, ends.
#include <pthread.h>

#include <map>

#include "element_test.h"

using namespace element_test;

namespace {

GstElement* make_source(const char* model = "fake") {
  GstElement* element = gst_element_factory_make("flowcachesrc", nullptr);
  EXPECT_NE(element, nullptr);
  gst_object_ref_sink(element);
  g_object_set(element, "model", model, nullptr);
  return element;
}

GstStateChangeReturn go_to(GstElement* element, GstState state) {
  const GstStateChangeReturn result = gst_element_set_state(element, state);
  EXPECT_NE(result, GST_STATE_CHANGE_ASYNC);
  return result;
}

// Tries every sequence of up to five states, so every change of state happens in many contexts.
TEST(States, EveryWalk) {
  const GstState targets[] = {GST_STATE_NULL, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING};
  for (int code = 0; code < 4 * 4 * 4 * 4 * 4; ++code) {
    GstElement* element = make_source();
    GstState before = GST_STATE_NULL;
    for (int step = 0, rest = code; step < 5; ++step, rest /= 4) {
      const GstState target = targets[rest % 4];
      const GstStateChangeReturn result = go_to(element, target);
      // A change to the present state returns what the last change returned.
      const bool live = target == GST_STATE_PAUSED && target != before;
      if (live) {
        ASSERT_EQ(result, GST_STATE_CHANGE_NO_PREROLL) << "walk " << code << ", step " << step;
      } else {
        ASSERT_NE(result, GST_STATE_CHANGE_FAILURE) << "walk " << code << ", step " << step;
      }
      before = target;
    }
    go_to(element, GST_STATE_NULL);
    ASSERT_EQ(GST_OBJECT_REFCOUNT_VALUE(element), 1) << "walk " << code;
    gst_object_unref(element);
  }
  EXPECT_EQ(element_test::fake().live_engines(), 0);
  EXPECT_EQ(element_test::fake().live_streams(), 0);
  EXPECT_EQ(element_test::fake().live_chunks(), 0);
}

TEST(States, NotLivePrerolls) {
  GstElement* element = make_source();
  g_object_set(element, "is-live", FALSE, nullptr);
  EXPECT_EQ(go_to(element, GST_STATE_PAUSED), GST_STATE_CHANGE_SUCCESS);
  go_to(element, GST_STATE_NULL);
  gst_object_unref(element);
}

// Loading takes a minute, but stopping must not. This is not a measurement: the limit is far above what
// stopping takes.
TEST(States, NullWhileLoading) {
  for (const GstState from : {GST_STATE_PAUSED, GST_STATE_PLAYING}) {
    Source source("model=fake:load_ms=60000");
    gst_element_set_state(source.element(), from);
    GstMessage* progress = source.message(GST_MESSAGE_PROGRESS);
    ASSERT_NE(progress, nullptr);
    gst_message_unref(progress);
    const gint64 begin = g_get_monotonic_time();
    gst_element_set_state(source.element(), GST_STATE_NULL);
    EXPECT_LT(g_get_monotonic_time() - begin, G_USEC_PER_SEC);
    bool cancelled = false;
    while (GstMessage* message =
               gst_bus_pop_filtered(GST_ELEMENT_BUS(source.element()), GST_MESSAGE_PROGRESS)) {
      GstProgressType type;
      gst_message_parse_progress(message, &type, nullptr, nullptr);
      cancelled = cancelled || type == GST_PROGRESS_TYPE_CANCELED;
      gst_message_unref(message);
    }
    EXPECT_TRUE(cancelled);
  }
}

TEST(States, NullWhileAChunkIsMade) {
  Source source("model=fake:chunk_ms=60000");
  source.play();
  ASSERT_TRUE(eventually([] { return element_test::fake().live_streams() == 1; }));
  const gint64 begin = g_get_monotonic_time();
  gst_element_set_state(source.element(), GST_STATE_NULL);
  EXPECT_LT(g_get_monotonic_time() - begin, G_USEC_PER_SEC);
}

TEST(States, ProgressOfLoading) {
  Source source("model=fake:load_ms=40");
  gst_element_set_state(source.element(), GST_STATE_PAUSED);
  std::vector<GstProgressType> types;
  int last_percent = 0;
  while (types.empty() || types.back() != GST_PROGRESS_TYPE_COMPLETE) {
    const MessagePtr message(source.message(GST_MESSAGE_PROGRESS));
    ASSERT_TRUE(message);
    GstProgressType type;
    gst_message_parse_progress(message.get(), &type, nullptr, nullptr);
    types.push_back(type);
    gst_structure_get_int(gst_message_get_structure(message.get()), "percent", &last_percent);
  }
  EXPECT_EQ(types.front(), GST_PROGRESS_TYPE_START);
  EXPECT_GT(types.size(), 3u);
  EXPECT_LT(types.size(), 20u);
  EXPECT_EQ(last_percent, 100);
}

// In READY, caps change at once when another model is set.
TEST(States, AnotherModelInReadyGivesOtherCaps) {
  Source source("");
  gst_element_set_state(source.element(), GST_STATE_READY);
  g_object_set(source.element(), "model", "fake:width=320,height=192", nullptr);
  GstPad* pad = gst_element_get_static_pad(source.element(), "src");
  const auto width = [&] {
    GstCaps* caps = gst_pad_query_caps(pad, nullptr);
    int value = 0;
    gst_structure_get_int(gst_caps_get_structure(caps, 0), "width", &value);
    gst_caps_unref(caps);
    return value;
  };
  EXPECT_EQ(width(), 320);
  g_object_set(source.element(), "model", "/no/such/folder", nullptr);
  EXPECT_EQ(width(), 0);  // not known; the error comes when the stream starts
  g_object_set(source.element(), "model", nullptr, nullptr);
  EXPECT_EQ(width(), 64);
  gst_object_unref(pad);
}

// The worker's thread has a name, and announces its begin and end with itself as GThread.
TEST(States, WorkersThreadIsAnnounced) {
  Source source("");
  std::map<GstStreamStatusType, std::string> seen;
  gst_bus_set_sync_handler(
      GST_ELEMENT_BUS(source.element()),
      [](GstBus*, GstMessage* message, gpointer user) {
        if (GST_MESSAGE_TYPE(message) != GST_MESSAGE_STREAM_STATUS) return GST_BUS_PASS;
        GstStreamStatusType type;
        gst_message_parse_stream_status(message, &type, nullptr);
        const GValue* object = gst_message_get_stream_status_object(message);
        char name[16] = "";
        pthread_getname_np(pthread_self(), name, sizeof name);
        if (object != nullptr && G_VALUE_HOLDS(object, GST_TYPE_G_THREAD) &&
            g_value_get_boxed(object) == g_thread_self()) {
          (*static_cast<std::map<GstStreamStatusType, std::string>*>(user))[type] = name;
        }
        return GST_BUS_PASS;
      },
      &seen, nullptr);
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  gst_element_set_state(source.element(), GST_STATE_NULL);
  gst_bus_set_sync_handler(GST_ELEMENT_BUS(source.element()), nullptr, nullptr, nullptr);
  EXPECT_EQ(seen[GST_STREAM_STATUS_TYPE_ENTER], "flowcache-make");
  EXPECT_EQ(seen[GST_STREAM_STATUS_TYPE_LEAVE], "flowcache-make");
}

TEST(States, PausedToReadyStartsOver) {
  Source source("");
  source.play();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  gst_element_set_state(source.element(), GST_STATE_READY);
  gst_element_set_state(source.element(), GST_STATE_PLAYING);
  while (BufferPtr left{gst_harness_try_pull(source.harness())}) {
  }
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  EXPECT_LT(look_at(buffer.get(), source.info()).number, 4u);
  EXPECT_LT(stat(source.element(), "frames"), 4u);
}

TEST(States, ReadyKeepsTheModelNullLetsGo) {
  GstElement* element = make_source();
  const int before = element_test::fake().opened_engines();
  go_to(element, GST_STATE_PAUSED);
  ASSERT_TRUE(eventually([] { return element_test::fake().live_streams() == 1; }));
  go_to(element, GST_STATE_READY);
  EXPECT_EQ(element_test::fake().live_engines(), 1);
  go_to(element, GST_STATE_PAUSED);
  ASSERT_TRUE(eventually([] { return element_test::fake().live_streams() == 1; }));
  EXPECT_EQ(element_test::fake().opened_engines(), before + 1);
  go_to(element, GST_STATE_NULL);
  EXPECT_EQ(element_test::fake().live_engines(), 0);
  gst_object_unref(element);
}

TEST(States, TwentyRestartsInOneProcess) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(run_to_end("flowcachesrc model=fake num-buffers=5 ! videoconvert ! fakesink sync=true"), "");
  }
  EXPECT_EQ(element_test::fake().live_engines(), 0);
  EXPECT_EQ(element_test::fake().live_streams(), 0);
  EXPECT_EQ(element_test::fake().live_chunks(), 0);
}

TEST(States, TwentyRestartsOfOneElement) {
  Source source("");
  for (int i = 0; i < 20; ++i) {
    source.play();
    ASSERT_TRUE(BufferPtr(source.pull()));
    gst_element_set_state(source.element(), GST_STATE_NULL);
    while (BufferPtr left{gst_harness_try_pull(source.harness())}) {
    }
    ASSERT_EQ(element_test::fake().live_streams(), 0);
  }
}

TEST(States, EosByEvent) {
  GstElement* pipeline =
      gst_parse_launch("flowcachesrc name=s model=fake ! fakesink name=k sync=true", nullptr);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  ASSERT_TRUE(eventually([&] { return stat(source, "frames") > 1; }));
  EXPECT_TRUE(gst_element_send_event(source, gst_event_new_eos()));
  GstBus* bus = gst_element_get_bus(pipeline);
  const MessagePtr end(gst_bus_timed_pop_filtered(bus, kPatience, GST_MESSAGE_EOS));
  EXPECT_TRUE(end);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(source);
  gst_object_unref(pipeline);
}

// EOS is sent even while no frame comes.
TEST(States, EosByEventWhileWaitingForAFrame) {
  const Hold hold(0);
  GstElement* pipeline = gst_parse_launch("flowcachesrc name=s model=fake ! fakesink", nullptr);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  EXPECT_TRUE(gst_element_send_event(pipeline, gst_event_new_eos()));
  GstBus* bus = gst_element_get_bus(pipeline);
  const MessagePtr end(gst_bus_timed_pop_filtered(bus, kPatience, GST_MESSAGE_EOS));
  EXPECT_TRUE(end);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(pipeline);
}

TEST(States, EosByNumBuffersAndByTheEnginesEnd) {
  for (const char* line :
       {"flowcachesrc name=s model=fake num-buffers=7 ! fakesink name=k sync=false",
        "flowcachesrc name=s is-live=false model=fake:end_at=2 ! fakesink name=k sync=false"}) {
    GstElement* pipeline = gst_parse_launch(line, nullptr);
    GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
    EXPECT_EQ(run_to_end(pipeline), "");
    EXPECT_EQ(stat(source, "frames"), std::string(line).find("end_at") == std::string::npos ? 7u : 8u)
        << line;
    gst_object_unref(source);
    gst_object_unref(pipeline);
  }
}

// The element reports why the engine has no next chunk. A flush starts over, and the stream plays again.
TEST(States, EnginesEndSaysWhyAndAFlushStartsOver) {
  Source source("model=fake:end_at=2");
  source.play();
  const auto flush = [&](gboolean reset_time) {
    gst_element_send_event(source.element(), gst_event_new_flush_start());
    gst_element_send_event(source.element(), gst_event_new_flush_stop(reset_time));
  };
  for (int round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < 8; ++i) {
      const BufferPtr buffer(source.pull());
      ASSERT_TRUE(buffer) << round;
      EXPECT_EQ(look_at(buffer.get(), source.info()).number, i);
    }
    ASSERT_TRUE(eventually([&] { return GST_PAD_IS_EOS(source.harness()->sinkpad); }));
    const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
    ASSERT_TRUE(warning);
    EXPECT_NE(text_of(warning.get()).find("the history is full"), std::string::npos);
    flush(round % 2 == 0);
  }
}

TEST(States, SeekInALiveStreamIsRefusedEverywhere) {
  Source source("");
  // In READY the base class would keep the seek for later and say yes.
  gst_element_set_state(source.element(), GST_STATE_READY);
  EXPECT_FALSE(gst_element_seek_simple(source.element(), GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SECOND));
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_FALSE(gst_element_seek_simple(source.element(), GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SECOND));
  EXPECT_FALSE(gst_harness_push_upstream_event(
      source.harness(), gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0,
                                           GST_SEEK_TYPE_NONE, 0)));
  GstQuery* query = gst_query_new_seeking(GST_FORMAT_TIME);
  gboolean seekable = TRUE;
  if (gst_element_query(source.element(), query))
    gst_query_parse_seeking(query, nullptr, &seekable, nullptr, nullptr);
  EXPECT_FALSE(seekable);
  gst_query_unref(query);
  // The stream continues as if there had been no seek.
  const std::vector<GstClockTime> more = source.pull_times(2);
  EXPECT_EQ(more.size(), 2u);
}

}  // namespace
