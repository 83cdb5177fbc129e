// SPDX-License-Identifier: LGPL-2.1-or-later
// The element by its URI.
#include "element_test.h"

using namespace element_test;

namespace {

std::string uri_of(GstElement* element) {
  g_autofree char* uri = gst_uri_handler_get_uri(GST_URI_HANDLER(element));
  return uri;
}

// The element that GStreamer makes for a URI; null if there is none, and `problem` gets the error.
GstElement* made_from(const char* uri, std::string* problem = nullptr) {
  GError* error = nullptr;
  GstElement* element = gst_element_make_from_uri(GST_URI_SRC, uri, nullptr, &error);
  if (problem != nullptr) *problem = error == nullptr ? "" : error->message;
  g_clear_error(&error);
  return element == nullptr ? nullptr : GST_ELEMENT(gst_object_ref_sink(element));
}

TEST(Uri, SetsProperties) {
  GstElement* element = made_from(
      "flowcache:?prompt=orange%20fire%20%26%20sm%C3%B6ke&seed=18446744073709551615&model=fake&is-live=false&"
      "cache-threshold=0.25&underrun=skip&num-buffers=4&precision=bf16&memory-limit=9000000000&slice-tokens="
      "64");
  ASSERT_NE(element, nullptr);
  g_autofree char* prompt = nullptr;
  guint64 seed = 0;
  double threshold = 0;
  gboolean live = TRUE;
  int buffers = 0, underrun = 0;
  g_object_get(element, "prompt", &prompt, "seed", &seed, "is-live", &live, "cache-threshold", &threshold,
               "underrun", &underrun, "num-buffers", &buffers, nullptr);
  EXPECT_STREQ(prompt, "orange fire & smöke");
  EXPECT_EQ(seed, G_MAXUINT64);
  EXPECT_FALSE(live);
  EXPECT_EQ(threshold, 0.25);
  EXPECT_EQ(underrun, 1);
  EXPECT_EQ(buffers, 4);
  g_autofree char* precision = nullptr;
  guint64 limit = 0;
  guint slice = 0;
  g_object_get(element, "precision", &precision, "memory-limit", &limit, "slice-tokens", &slice, nullptr);
  EXPECT_STREQ(precision, "bf16");
  EXPECT_EQ(limit, 9000000000u);
  EXPECT_EQ(slice, 64u);
  // The element's own URI makes an equal element.
  const std::string uri = uri_of(element);
  GstElement* other = made_from(uri.c_str());
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(uri_of(other), uri);
  gst_object_unref(other);
  gst_object_unref(element);
}

TEST(Uri, BareOneIsTheDefault) {
  GstElement* element = made_from("flowcache:");
  ASSERT_NE(element, nullptr);
  EXPECT_EQ(uri_of(element), "flowcache:");
  gst_object_unref(element);
}

// A bad URI gives a message that names the fault, and sets nothing.
TEST(Uri, BadOnesAreNamed) {
  for (const auto& [uri, said] :
       {std::pair("flowcache:?sead=3", "sead"), std::pair("flowcache:?prompt=fire&seed=many", "many"),
        std::pair("flowcache:?steps=99999", "99999"), std::pair("flowcache:?memory-limit=much", "much"),
        std::pair("flowcache:?slice-tokens=few", "few"), std::pair("flowcache:?underrun=never", "never"),
        std::pair("flowcache:?stats=1", "stats"), std::pair("flowcache:?name=x", "name"),
        std::pair("flowcache:?seed", "seed"), std::pair("flowcache://host?seed=1", "flowcache://host"),
        std::pair("flowcache:fire", "flowcache:fire")}) {
    std::string problem;
    EXPECT_EQ(made_from(uri, &problem), nullptr) << uri;
    EXPECT_NE(problem.find(said), std::string::npos) << problem;
  }
  GstElement* element = made_from("flowcache:?seed=5");
  GError* error = nullptr;
  EXPECT_FALSE(gst_uri_handler_set_uri(GST_URI_HANDLER(element), "flowcache:?seed=6&steps=x", &error));
  g_clear_error(&error);
  EXPECT_EQ(uri_of(element), "flowcache:?seed=5");
  gst_object_unref(element);
}

TEST(Uri, NotWhileItPlays) {
  Source source("");
  source.play();
  GError* error = nullptr;
  EXPECT_FALSE(gst_uri_handler_set_uri(GST_URI_HANDLER(source.element()), "flowcache:?seed=6", &error));
  EXPECT_TRUE(g_error_matches(error, GST_URI_ERROR, GST_URI_ERROR_BAD_STATE));
  g_clear_error(&error);
}

std::string stream_id(const std::string& properties) {
  Source source(properties);
  source.play();
  EXPECT_TRUE(BufferPtr(source.pull()));
  g_autofree char* id = gst_pad_get_stream_id(source.harness()->sinkpad);
  return id;
}

TEST(Uri, StreamIdDependsOnWhatIsShown) {
  EXPECT_EQ(stream_id("seed=3"), stream_id("seed=3"));
  EXPECT_NE(stream_id("seed=3"), stream_id("seed=4"));
}

// Opens the URI as playbin, gst-play-1.0 and the discoverer do.
TEST(Uri, PlaysInUridecodebin) {
  for (const char* live : {"true", "false"}) {
    EXPECT_EQ(run_to_end("uridecodebin uri=flowcache:?model=fake&num-buffers=6&is-live=" + std::string(live) +
                         " ! fakesink sync=false"),
              "");
  }
}

}  // namespace
