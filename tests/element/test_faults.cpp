// SPDX-License-Identifier: LGPL-2.1-or-later
// Engines that are missing, of another version, failing or throwing, and downstream elements that disappear.
// Each gives one clear message, and nothing hangs.
#include <glib/gstdio.h>

#include "element_test.h"

using namespace element_test;

namespace {

struct Fault {
  const char* model;
  GQuark (*domain)();
  int code;
  const char* text;
};
void PrintTo(const Fault& fault, std::ostream* out) {
  *out << fault.model;
}
class Faults : public testing::TestWithParam<Fault> {};

TEST_P(Faults, AreOneErrorOfTheRightKind) {
  const Fault& fault = GetParam();
  Source source(std::string("model=") + fault.model);
  gst_element_set_state(source.element(), GST_STATE_PLAYING);
  MessagePtr message;
  eventually([&] {
    message.reset(gst_bus_pop_filtered(GST_ELEMENT_BUS(source.element()), GST_MESSAGE_ERROR));
    source.tick();
    while (BufferPtr left{gst_harness_try_pull(source.harness())}) {
    }
    return message != nullptr;
  });
  ASSERT_TRUE(message) << fault.model;
  GError* error = nullptr;
  gst_message_parse_error(message.get(), &error, nullptr);
  EXPECT_EQ(error->domain, fault.domain()) << error->message;
  EXPECT_EQ(error->code, fault.code) << error->message;
  EXPECT_NE(std::string(error->message).find(fault.text), std::string::npos) << error->message;
  g_clear_error(&error);
}

INSTANTIATE_TEST_SUITE_P(
    Engine, Faults,
    testing::Values(
        Fault{"/no/such/folder", gst_resource_error_quark, GST_RESOURCE_ERROR_NOT_FOUND, "/no/such/folder"},
        Fault{"fake:fail_describe=3", gst_resource_error_quark, GST_RESOURCE_ERROR_OPEN_READ,
              "fc_model_describe"},
        Fault{"fake:fps_n=0", gst_resource_error_quark, GST_RESOURCE_ERROR_OPEN_READ, "frame rate"},
        Fault{"fake:fail_open=4,load_ms=20", gst_resource_error_quark, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
              "fc_engine_open"},
        Fault{"fake:fail_open=5", gst_resource_error_quark, GST_RESOURCE_ERROR_FAILED, "fc_engine_open"},
        Fault{"fake:throw_open=1", gst_library_error_quark, GST_LIBRARY_ERROR_FAILED,
              "thrown by fc_engine_open"},
        Fault{"fake:fail_stream=1", gst_resource_error_quark, GST_RESOURCE_ERROR_SETTINGS, "fc_stream_open"},
        Fault{"fake:fail_at=2", gst_library_error_quark, GST_LIBRARY_ERROR_FAILED, "fc_stream_next"},
        Fault{"fake:fail_at=0,fail_status=4", gst_resource_error_quark, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
              "fc_stream_next"},
        Fault{"fake:throw_at=2", gst_library_error_quark, GST_LIBRARY_ERROR_FAILED,
              "thrown by fc_stream_next"},
        Fault{"fake:throw_at=1,chunk_ms=50", gst_library_error_quark, GST_LIBRARY_ERROR_FAILED, "thrown"},
        Fault{"fake:fail_write=1", gst_resource_error_quark, GST_RESOURCE_ERROR_SETTINGS, "fc_chunk_write"}));

// Frames that were finished before the fault are still shown.
TEST(Faults, FramesBeforeTheFaultAreShown) {
  Source source("model=fake:fail_at=2 is-live=false");
  source.play();
  for (uint32_t i = 0; i < 8; ++i) {
    const BufferPtr buffer(gst_harness_pull(source.harness()));
    ASSERT_TRUE(buffer);
    EXPECT_EQ(look_at(buffer.get(), source.info()).number, i);
  }
}

TEST(Faults, LoadingErrorComesWithProgressError) {
  Source source("model=fake:fail_open=4");
  gst_element_set_state(source.element(), GST_STATE_PAUSED);
  const MessagePtr error(source.message(GST_MESSAGE_ERROR));
  ASSERT_TRUE(error);
  bool said = false;
  while (!said) {
    const MessagePtr message(source.message(GST_MESSAGE_PROGRESS));
    ASSERT_TRUE(message);
    GstProgressType type;
    gst_message_parse_progress(message.get(), &type, nullptr, nullptr);
    said = type == GST_PROGRESS_TYPE_ERROR;
  }
}

std::string error_with_engine(const char* engine) {
  const ScopedEnv env("FLOWCACHE_ENGINE", engine);
  Source source("");
  EXPECT_EQ(gst_element_set_state(source.element(), GST_STATE_READY), GST_STATE_CHANGE_FAILURE);
  const MessagePtr error(source.message(GST_MESSAGE_ERROR));
  return error ? text_of(error.get()) : "";
}

TEST(Engine, MissingOneNamesWhereItWasLookedFor) {
  EXPECT_NE(error_with_engine("/no/such/engine.so").find("/no/such/engine.so: no such file"),
            std::string::npos);
}

TEST(Engine, FileThatIsNoneSaysSo) {
  const std::string error = error_with_engine(FLOWCACHE_BUILD_DIR "/gst-plugin/libgstflowcache.so");
  EXPECT_NE(error.find("has no fc_last_error"), std::string::npos) << error;
}

TEST(Engine, OtherInterfaceVersionIsRefused) {
  // A copy, because the real path may have been opened already, and opened libraries are kept.
  g_autofree char* copy = g_build_filename(g_get_tmp_dir(), "libflowcache-other-abi.so", nullptr);
  char* data = nullptr;
  gsize size = 0;
  ASSERT_TRUE(g_file_get_contents(g_getenv("FLOWCACHE_ENGINE"), &data, &size, nullptr));
  ASSERT_TRUE(g_file_set_contents(copy, data, static_cast<gssize>(size), nullptr));
  g_free(data);
  const ScopedEnv abi("FLOWCACHE_FAKE_ABI", "999");
  const std::string error = error_with_engine(copy);
  EXPECT_NE(error.find("interface version 999"), std::string::npos) << error;
  g_remove(copy);
}

TEST(Faults, DownstreamThatFailsStopsTheStream) {
  const std::string error = run_to_end("flowcachesrc model=fake ! identity error-after=3 ! fakesink");
  EXPECT_NE(error, "");
}

TEST(Faults, DownstreamThatStallsHoldsTheEngineAtTheRing) {
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc name=s model=fake max-chunks-ahead=2 is-live=false ! valve name=v ! "
      "queue max-size-buffers=1 ! fakesink name=k sync=true",
      nullptr);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  gst_element_set_state(pipeline, GST_STATE_PAUSED);  // no frame leaves the sink
  ASSERT_TRUE(eventually([&] { return stat(source, "ring-level") >= 5; }));
  const guint64 chunks = stat(source, "chunks");
  g_usleep(20000);
  EXPECT_EQ(stat(source, "chunks"), chunks);
  EXPECT_LE(chunks, 4u);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(source);
  gst_object_unref(pipeline);
}

// The sink is taken out of the pipeline while frames flow.
TEST(Faults, DownstreamThatGoesAwayIsAnErrorNotACrash) {
  GstElement* pipeline =
      gst_parse_launch("flowcachesrc name=s model=fake is-live=false ! fakesink name=k sync=false", nullptr);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  ASSERT_TRUE(eventually([&] { return stat(source, "frames") > 3; }));
  gst_element_unlink(source, sink);
  gst_bin_remove(GST_BIN(pipeline), sink);
  gst_element_set_state(sink, GST_STATE_NULL);
  GstBus* bus = gst_element_get_bus(pipeline);
  const MessagePtr error(gst_bus_timed_pop_filtered(bus, kPatience, GST_MESSAGE_ERROR));
  gst_object_unref(bus);
  ASSERT_TRUE(error);
  EXPECT_STREQ(GST_MESSAGE_SRC_NAME(error.get()), "s");
  // The engine stops when the ring is full, because nobody takes frames.
  ASSERT_TRUE(eventually([&] { return stat(source, "ring-level") >= 5; }));
  const guint64 chunks = stat(source, "chunks");
  g_usleep(20000);
  EXPECT_EQ(stat(source, "chunks"), chunks);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(source);
  gst_object_unref(pipeline);
}

TEST(Faults, NobodyLinkedIsAnErrorNotACrash) {
  EXPECT_NE(run_to_end("flowcachesrc model=fake ! tee"), "");
}

}  // namespace
