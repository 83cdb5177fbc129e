// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter behind what others send: files, networks, screens and cameras. All that comes in comes out at its
// time, or is counted as left out, and nothing piles up.
#include <glib/gstdio.h>
#ifdef HAVE_RTSP_SERVER
#include <gst/rtsp-server/rtsp-server.h>
#endif
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <thread>

#include "filter_test.h"

using namespace filter_test;

namespace {

// A pipeline with a filter named f, of which it notes what goes in and comes out.
class Watched {
 public:
  explicit Watched(const std::string& line) {
    GError* error = nullptr;
    pipeline_ = gst_parse_launch(line.c_str(), &error);
    if (error != nullptr) ADD_FAILURE() << error->message;
    g_clear_error(&error);
    filter_ = gst_bin_get_by_name(GST_BIN(pipeline_), "f");
    bus_ = gst_element_get_bus(pipeline_);
    for (const bool input : {true, false}) {
      GstPad* pad = gst_element_get_static_pad(filter_, input ? "sink" : "src");
      gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, input ? note<true> : note<false>, this, nullptr);
      gst_object_unref(pad);
    }
  }
  ~Watched() {
    gst_element_set_state(pipeline_, GST_STATE_NULL);
    gst_object_unref(bus_);
    gst_object_unref(filter_);
    gst_object_unref(pipeline_);
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  void play() { gst_element_set_state(pipeline_, GST_STATE_PLAYING); }
  // "" at the end, else the error.
  std::string wait_for_end() {
    const MessagePtr message(gst_bus_timed_pop_filtered(
        bus_, kPatience, static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR)));
    if (!message) return "neither EOS nor an error came";
    return GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR ? text_of(message.get()) : "";
  }
  // Waits until so many frames have come out, then ends the input and waits for the rest.
  std::string end_after(size_t frames) {
    const bool came = eventually([&] { return out().size() >= frames; });
    gst_element_send_event(pipeline_, gst_event_new_eos());
    const std::string text = wait_for_end();
    return came ? text
                : std::to_string(out().size()) + " of " + std::to_string(frames) + " frames came. " + text;
  }

  std::vector<GstClockTime> in() const { return copy(in_); }
  std::vector<GstClockTime> out() const { return copy(out_); }
  // Largest number of frames that were in the filter at a time.
  size_t most_inside() const {
    std::lock_guard lock(mutex_);
    return most_;
  }
  GstElement* filter() const { return filter_; }
  GstElement* pipeline() const { return pipeline_; }
  GstElement* named(const char* name) const { return gst_bin_get_by_name(GST_BIN(pipeline_), name); }

 private:
  template <bool input>
  static GstPadProbeReturn note(GstPad*, GstPadProbeInfo* info, gpointer user) {
    auto& self = *static_cast<Watched*>(user);
    std::lock_guard lock(self.mutex_);
    (input ? self.in_ : self.out_).push_back(GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info)));
    if (input) self.most_ = std::max(self.most_, self.in_.size() - self.out_.size());
    return GST_PAD_PROBE_OK;
  }
  std::vector<GstClockTime> copy(const std::vector<GstClockTime>& times) const {
    std::lock_guard lock(mutex_);
    return times;
  }

  GstElement *pipeline_, *filter_;
  GstBus* bus_;
  mutable std::mutex mutex_;
  std::vector<GstClockTime> in_, out_;
  size_t most_ = 0;
};

// A part of a chunk, two chunks that were fed, two in the ring, and the frame on its way. A frame of four.
constexpr size_t kMostInside = 4 + 2 * 4 + 2 * 4 + 1;

// Every frame has come out, once and in order.
void expect_all(const Watched& line, size_t least) {
  EXPECT_GE(line.in().size(), least);
  EXPECT_EQ(line.out(), line.in());
  EXPECT_LE(line.most_inside(), kMostInside);
}

// Some frames may have been left out, but each of these was counted.
void expect_counted(const Watched& line, size_t least) {
  const auto in = line.in(), out = line.out();
  EXPECT_GE(out.size(), least);
  EXPECT_TRUE(std::is_sorted(in.begin(), in.end()));
  EXPECT_TRUE(std::includes(in.begin(), in.end(), out.begin(), out.end()))
      << "a time that never went in, or twice";
  EXPECT_EQ(in.size() - out.size(), stat(line.filter(), "skipped"));
}

constexpr const char* kFitted =
    " ! queue ! videoconvertscale ! videorate ! flowcachefilter name=f late=stall ! ";
constexpr const char* kX264 = " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ";

bool has_element(const char* name) {
  GstElementFactory* factory = gst_element_factory_find(name);
  if (factory == nullptr) return false;
  gst_object_unref(factory);
  return true;
}

// ---- test pictures at other rates

struct Rate {
  int n, d;
  const char* pattern;
};
void PrintTo(const Rate& rate, std::ostream* out) {
  *out << rate.n << "/" << rate.d << " " << rate.pattern;
}
class FilterRates : public testing::TestWithParam<Rate> {
 protected:
  std::string rate_ = std::to_string(GetParam().n) + "/" + std::to_string(GetParam().d);
  // Three seconds of it.
  std::string source_ = "videotestsrc pattern=" + std::string(GetParam().pattern) +
                        " num-buffers=" + std::to_string(3 * GetParam().n / GetParam().d) + " ";
};

TEST_P(FilterRates, ThroughVideorate) {
  Watched line(source_ + "! video/x-raw,width=320,height=180,framerate=" + rate_ + kFitted +
               "fakesink sync=false");
  line.play();
  EXPECT_EQ(line.wait_for_end(), "");
  expect_all(line, 3 * 16 - 4);
}

TEST_P(FilterRates, Live) {
  Watched line(source_ + "is-live=true ! video/x-raw,framerate=" + rate_ +
               " ! videoconvertscale ! videorate ! flowcachefilter name=f model=fake:load_ms=300 ! fakesink "
               "sync=true");
  line.play();
  EXPECT_EQ(line.wait_for_end(), "");
  expect_counted(line, 16);
}

// The model has that rate itself.
TEST_P(FilterRates, Directly) {
  const std::string model =
      "model=\"fake:fps_n=" + std::to_string(GetParam().n) + ",fps_d=" + std::to_string(GetParam().d) + "\"";
  Watched line(source_ + "! video/x-raw,format=RGBA,width=64,height=48,framerate=" + rate_ +
               " ! flowcachefilter name=f " + model + " ! fakesink sync=false");
  line.play();
  EXPECT_EQ(line.wait_for_end(), "");
  EXPECT_EQ(line.in().size(), static_cast<size_t>(3 * GetParam().n / GetParam().d));
  expect_all(line, 1);
}

INSTANTIATE_TEST_SUITE_P(Rates, FilterRates,
                         testing::Values(Rate{5, 1, "smpte"}, Rate{25, 1, "ball"}, Rate{30000, 1001, "snow"},
                                         Rate{60, 1, "zone-plate"}));

// ---- files

// Notes the time up to which sound has come, and holes in it.
struct Sound {
  GstClockTime end = 0, largest_hole = 0;

  static GstPadProbeReturn note(GstPad*, GstPadProbeInfo* info, gpointer user) {
    auto& self = *static_cast<Sound*>(user);
    const GstBuffer* buffer = GST_PAD_PROBE_INFO_BUFFER(info);
    if (self.end > 0 && GST_BUFFER_PTS(buffer) > self.end)
      self.largest_hole = MAX(self.largest_hole, GST_BUFFER_PTS(buffer) - self.end);
    self.end = GST_BUFFER_PTS(buffer) + GST_BUFFER_DURATION(buffer);
    return GST_PAD_PROBE_OK;
  }
};

TEST(FilterInputs, AnMp4WithSoundBesideIt) {
  if (!has_element("x264enc") || !has_element("avenc_aac")) GTEST_SKIP() << "no x264enc or no avenc_aac";
  g_autofree char* path = g_build_filename(g_get_tmp_dir(), "flowcache-filter-input.mp4", nullptr);
  ASSERT_EQ(run_to_end(
                std::string("videotestsrc num-buffers=75 ! video/x-raw,width=320,height=240,framerate=25/1 ! "
                            "x264enc speed-preset=ultrafast bframes=2 ! mp4mux name=m ! filesink location=") +
                path + " audiotestsrc num-buffers=300 samplesperbuffer=480 ! audio/x-raw,rate=48000 ! " +
                "avenc_aac aac-coder=fast ! m."),
            "");
  Watched line(std::string("filesrc location=") + path + " ! decodebin name=d d." + kFitted +
               "fakesink sync=true d. ! queue ! audioconvert ! fakesink name=a sync=true");
  Sound sound;
  GstElement* sink = line.named("a");
  GstPad* pad = gst_element_get_static_pad(sink, "sink");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, Sound::note, &sound, nullptr);
  gst_object_unref(pad);
  gst_object_unref(sink);
  line.play();
  EXPECT_EQ(line.wait_for_end(), "");
  expect_all(line, 3 * 16 - 4);
  EXPECT_NEAR(static_cast<double>(sound.end), 3e9, 5e7);
  EXPECT_LT(sound.largest_hole, GST_MSECOND);
  g_remove(path);
}

// ---- networks

// Leaves out every 50th datagram, but not the first ones.
GstPadProbeReturn lose(GstPad*, GstPadProbeInfo*, gpointer user) {
  auto& sent = *static_cast<int*>(user);
  return ++sent > 20 && sent % 50 == 0 ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

TEST(FilterInputs, MpegTsOverUdpThatLosesTwoPercent) {
  if (!has_element("x264enc") || !has_element("avdec_h264")) GTEST_SKIP() << "no x264enc or no avdec_h264";
  Watched line(
      std::string("udpsrc name=u address=127.0.0.1 port=0 ! tsdemux latency=1 ! h264parse ! avdec_h264") +
      kFitted + "fakesink sync=false");
  GstElement* socket = line.named("u");
  line.play();
  int port = 0;
  ASSERT_TRUE(eventually([&] {
    g_object_get(socket, "port", &port, nullptr);
    return port != 0;
  }));
  gst_object_unref(socket);
  GstElement* sender = gst_parse_launch(
      (std::string(
           "videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=240,framerate=25/1 ") +
       kX264 + "bitrate=1500 ! mpegtsmux alignment=7 ! identity name=loss ! udpsink host=127.0.0.1 port=" +
       std::to_string(port))
          .c_str(),
      nullptr);
  GstElement* loss = gst_bin_get_by_name(GST_BIN(sender), "loss");
  GstPad* pad = gst_element_get_static_pad(loss, "src");
  int sent = 0;
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, lose, &sent, nullptr);
  gst_object_unref(pad);
  gst_object_unref(loss);
  gst_element_set_state(sender, GST_STATE_PLAYING);
  EXPECT_EQ(line.end_after(48), "");
  gst_element_set_state(sender, GST_STATE_NULL);
  gst_object_unref(sender);
  EXPECT_GT(sent, 100) << "nothing was lost";
  expect_all(line, 48);
}

#ifdef HAVE_RTSP_SERVER
// A server with one live stream on a port of its own, and the thread that it runs on.
class RtspServer {
 public:
  RtspServer() : context_(g_main_context_new()), loop_(g_main_loop_new(context_, FALSE)) {
    server_ = gst_rtsp_server_new();
    gst_rtsp_server_set_address(server_, "127.0.0.1");
    gst_rtsp_server_set_service(server_, "0");
    GstRTSPMediaFactory* factory = gst_rtsp_media_factory_new();
    const std::string line =
        std::string(
            "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1") +
        kX264 + "! rtph264pay name=pay0 pt=96 )";
    gst_rtsp_media_factory_set_launch(factory, line.c_str());
    GstRTSPMountPoints* mounts = gst_rtsp_server_get_mount_points(server_);
    gst_rtsp_mount_points_add_factory(mounts, "/live", factory);
    g_object_unref(mounts);
    source_ = gst_rtsp_server_attach(server_, context_);
    thread_ = std::thread([this] { g_main_loop_run(loop_); });
  }
  ~RtspServer() {
    gst_rtsp_server_client_filter(
        server_, [](GstRTSPServer*, GstRTSPClient*, gpointer) { return GST_RTSP_FILTER_REMOVE; }, nullptr);
    g_main_loop_quit(loop_);
    thread_.join();
    GSource* source = g_main_context_find_source_by_id(context_, source_);
    if (source != nullptr) g_source_destroy(source);
    g_object_unref(server_);
    g_main_loop_unref(loop_);
    g_main_context_unref(context_);
  }
  RtspServer(const RtspServer&) = delete;
  RtspServer& operator=(const RtspServer&) = delete;
  std::string url() const {
    return "rtsp://127.0.0.1:" + std::to_string(gst_rtsp_server_get_bound_port(server_)) + "/live";
  }

 private:
  GMainContext* context_;
  GMainLoop* loop_;
  GstRTSPServer* server_;
  guint source_ = 0;
  std::thread thread_;
};

TEST(FilterInputs, Rtsp) {
  if (!has_element("x264enc") || !has_element("rtspsrc")) GTEST_SKIP() << "no x264enc or no rtspsrc";
  const RtspServer server;
  Watched line("rtspsrc latency=50 location=" + server.url() + " ! decodebin" + kFitted +
               "fakesink sync=true");
  line.play();
  EXPECT_EQ(line.end_after(32), "");
  expect_all(line, 32);
}
#endif

// ---- screens and cameras

TEST(FilterInputs, AScreen) {
  g_autofree char* xvfb = g_find_program_in_path("Xvfb");
  if (xvfb == nullptr || !has_element("ximagesrc")) GTEST_SKIP() << "no Xvfb or no ximagesrc";
  char* argv[] = {xvfb,          g_strdup("-displayfd"), g_strdup("1"),         g_strdup("-screen"),
                  g_strdup("0"), g_strdup("320x200x24"), g_strdup("-nolisten"), g_strdup("tcp"),
                  nullptr};
  GPid pid = 0;
  int output = -1;
  ASSERT_TRUE(g_spawn_async_with_pipes(
      nullptr, argv, nullptr,
      static_cast<GSpawnFlags>(G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL), nullptr, nullptr,
      &pid, nullptr, &output, nullptr, nullptr));
  std::for_each(std::begin(argv) + 1, std::end(argv), g_free);
  std::string display;
  for (char c = 0; read(output, &c, 1) == 1 && c != '\n';) display += c;
  ASSERT_NE(display, "") << "Xvfb does not start";
  {
    Watched line("ximagesrc use-damage=false num-buffers=60 display-name=:" + display +
                 " ! video/x-raw,framerate=30/1" + kFitted + "fakesink sync=true");
    line.play();
    EXPECT_EQ(line.wait_for_end(), "");
    expect_all(line, 28);
  }
  kill(pid, SIGTERM);
  g_spawn_close_pid(pid);
  close(output);
}

// A device of v4l2loopback: what is written into it can be read from it.
std::string loopback() {
  const char* folder = "/sys/devices/virtual/video4linux";
  GDir* dir = g_dir_open(folder, 0, nullptr);
  if (dir == nullptr) return "";
  const char* name = g_dir_read_name(dir);
  const std::string device = name == nullptr ? "" : std::string("/dev/") + name;
  g_dir_close(dir);
  return device;
}

TEST(FilterInputs, ACamera) {
  const std::string device = loopback();
  if (device.empty()) GTEST_SKIP() << "no v4l2loopback device: modprobe v4l2loopback";
  GstElement* writer =
      gst_parse_launch(("videotestsrc is-live=true ! video/x-raw,format=YUY2,width=320,height=240,"
                        "framerate=30/1 ! v4l2sink device=" +
                        device)
                           .c_str(),
                       nullptr);
  gst_element_set_state(writer, GST_STATE_PLAYING);
  gst_element_get_state(writer, nullptr, nullptr, kPatience);
  {
    Watched line("v4l2src num-buffers=60 device=" + device + kFitted + "fakesink sync=true");
    line.play();
    EXPECT_EQ(line.wait_for_end(), "");
    expect_all(line, 28);
  }
  gst_element_set_state(writer, GST_STATE_NULL);
  gst_object_unref(writer);
}

}  // namespace
