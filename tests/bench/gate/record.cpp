// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-gate SECONDS [PROPERTIES [ELEMENT [WIDTHxHEIGHT]]]: plays flowcachesrc, or flowcachefilter behind a live test
// picture, beside x264enc, a second to warm up and then for SECONDS, and writes to stdout, as JSON, what gate.sh judges:
// when each frame left the element and when it was shown, how long chunks took, how full the queues were. PROPERTIES are
// added to those of the element.
#include <gst/base/gstbasesink.h>
#include <gst/gst.h>

#include <atomic>
#include <chrono>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/sleep_at_barriers.h"

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench-gate: %s\n", why.c_str());
  std::exit(1);
}

struct Frame {
  double left = 0;        // seconds after the start: at the element's pad
  double shown = -1;      // when the sink let it through, at its time; -1: never
  double late = 0;        // seconds behind that time
  bool repeated = false;  // the element says so, or the picture is that of the frame before
};

struct Setup {
  std::string properties, element = "flowcachesrc", size;  // size: as in caps; empty: the model's own
  std::string line() const {
    const std::string caps = size.empty() ? "" : "video/x-raw," + size;
    const std::string own = element + " name=source report-chunks=true " + properties;
    if (element == "flowcachesrc") return own + (caps.empty() ? "" : " ! " + caps);
    // A ball that flies: no picture is that of the frame before.
    return "videotestsrc is-live=true pattern=ball ! "
           "video/x-raw,format=I420,colorimetry=bt709,framerate=16/1," +
           (size.empty() ? "width=512,height=288" : size) + " ! " + own;
  }
};

// One run of the pipeline. Times are seconds after the constructor.
class Session {
 public:
  explicit Session(const Setup& setup) {
    const std::string line =
        setup.line() +
        " ! queue name=queue ! videoconvert ! x264enc tune=zerolatency speed-preset=veryfast bitrate=2000 "
        "key-int-max=32 ! fakesink name=sink sync=true signal-handoffs=true";
    GError* error = nullptr;
    pipeline_ = gst_parse_launch(line.c_str(), &error);
    if (error) give_up(error->message);
    source_ = gst_bin_get_by_name(GST_BIN(pipeline_), "source");
    queue_ = gst_bin_get_by_name(GST_BIN(pipeline_), "queue");
    sink_ = gst_bin_get_by_name(GST_BIN(pipeline_), "sink");
    bus_ = gst_element_get_bus(pipeline_);
    g_signal_connect(sink_, "handoff", G_CALLBACK(on_shown), this);
    GstPad* pad = gst_element_get_static_pad(source_, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, on_left, this, nullptr);
    gst_object_unref(pad);
  }
  ~Session() {
    gst_element_set_state(pipeline_, GST_STATE_NULL);
    for (gpointer object :
         {gpointer(source_), gpointer(queue_), gpointer(sink_), gpointer(bus_), gpointer(pipeline_)})
      gst_object_unref(object);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Until `seconds` after the first frame was shown.
  json play(double seconds) {
    gst_element_set_state(pipeline_, GST_STATE_PLAYING);
    for (double first = -1; first < 0 || now() < first + seconds; first = first_shown_) {
      if (first < 0 && now() > 120) give_up("no frame was shown within two minutes");
      g_usleep(20'000);
      while (GstMessage* message = gst_bus_pop(bus_)) {
        handle(message);
        gst_message_unref(message);
      }
      if (first_shown_ >= 0) sample();
    }
    return record();
  }

 private:
  double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  // Streaming thread of the source.
  static GstPadProbeReturn on_left(GstPad*, GstPadProbeInfo* info, gpointer user) {
    auto& self = *static_cast<Session*>(user);
    GstBuffer* buffer = GST_PAD_PROBE_INFO_BUFFER(info);
    GstMapInfo map;
    if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return GST_PAD_PROBE_OK;
    const size_t picture = std::hash<std::string_view>{}({reinterpret_cast<const char*>(map.data), map.size});
    gst_buffer_unmap(buffer, &map);
    const std::lock_guard lock(self.mutex_);
    Frame& frame = self.frames_[GST_BUFFER_PTS(buffer)];
    frame.left = self.now();
    if (const GstCustomMeta* meta = gst_buffer_get_custom_meta(buffer, "FlowCacheMeta"))
      gst_structure_get_uint(gst_custom_meta_get_structure(const_cast<GstCustomMeta*>(meta)), "frames",
                             &self.frames_per_chunk_);
    frame.repeated = GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_GAP) || picture == self.picture_;
    self.picture_ = picture;
    return GST_PAD_PROBE_OK;
  }

  // Streaming thread of the sink, when the encoded frame's time has come. x264enc moves timestamps and
  // segment by 1,000 hours; running times stay.
  static void on_shown(GstElement* sink, GstBuffer* buffer, GstPad* pad, gpointer user) {
    auto& self = *static_cast<Session*>(user);
    const auto now = static_cast<double>(gst_element_get_current_running_time(sink));
    GstEvent* event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
    const GstSegment* segment = nullptr;
    gst_event_parse_segment(event, &segment);
    const GstClockTime time = gst_segment_to_running_time(segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    gst_event_unref(event);
    const auto due = static_cast<double>(time + gst_base_sink_get_latency(GST_BASE_SINK(sink)));
    const std::lock_guard lock(self.mutex_);
    const auto found = self.frames_.find(time);
    if (found == self.frames_.end()) give_up("a frame was shown that had not left the element");
    found->second.shown = self.now();
    found->second.late = (now - due) / GST_SECOND;
    if (self.first_shown_ < 0) self.first_shown_ = found->second.shown;
  }

  void handle(GstMessage* message) {
    const GstStructure* said = gst_message_get_structure(message);
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_LATENCY) gst_bin_recalculate_latency(GST_BIN(pipeline_));
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
      GError* error = nullptr;
      gst_message_parse_error(message, &error, nullptr);
      give_up(error->message);
    }
    if (said && gst_structure_has_name(said, "flowcache-chunk")) {
      guint64 chunk = 0;
      gdouble milliseconds = 0;
      gst_structure_get(said, "chunk", G_TYPE_UINT64, &chunk, "milliseconds", G_TYPE_DOUBLE, &milliseconds,
                        nullptr);
      chunks_.push_back({{"chunk", chunk}, {"at", now()}, {"ms", milliseconds}});
    }
  }

  json statistics() const {
    GstStructure* stats = nullptr;
    g_object_get(source_, "stats", &stats, nullptr);
    json out;
    const auto copy = [](GQuark field, const GValue* value, gpointer user) -> gboolean {
      json& to = (*static_cast<json*>(user))[g_quark_to_string(field)];
      if (G_VALUE_HOLDS_UINT64(value)) to = g_value_get_uint64(value);
      if (G_VALUE_HOLDS_UINT(value)) to = g_value_get_uint(value);
      if (G_VALUE_HOLDS_DOUBLE(value)) to = g_value_get_double(value);
      if (G_VALUE_HOLDS_STRING(value) && g_value_get_string(value)) to = g_value_get_string(value);
      return TRUE;
    };
    gst_structure_foreach(stats, copy, &out);
    gst_structure_free(stats);
    return out;
  }

  void sample() {
    const json stats = statistics();
    guint queued = 0;
    g_object_get(queue_, "current-level-buffers", &queued, nullptr);
    samples_.push_back({{"at", now()},
                        {"ring", stats["ring-level"]},
                        {"capacity", stats["ring-capacity"]},
                        {"queued", queued},
                        {"skipped", stats["skipped"]},
                        {"chunks", stats["chunks"]}});
  }

  json record() {
    guint most_queued = 0;
    g_object_get(queue_, "max-size-buffers", &most_queued, nullptr);
    json frames = json::array();
    const std::lock_guard lock(mutex_);
    for (const auto& [pts, frame] : frames_)
      frames.push_back({{"pts", static_cast<double>(pts) / GST_SECOND},
                        {"left", frame.left},
                        {"shown", frame.shown},
                        {"late", frame.late},
                        {"repeated", frame.repeated}});
    return {{"first_shown", first_shown_.load()},
            {"most_queued", most_queued},
            {"frames_per_chunk", frames_per_chunk_},
            {"frames", frames},
            {"chunks", chunks_},
            {"samples", samples_},
            {"stats", statistics()}};
  }

  const Clock::time_point start_ = Clock::now();
  GstElement *pipeline_ = nullptr, *source_ = nullptr, *queue_ = nullptr, *sink_ = nullptr;
  GstBus* bus_ = nullptr;
  json chunks_ = json::array(), samples_ = json::array();  // main thread only
  std::mutex mutex_;                                       // the three below
  std::map<GstClockTime, Frame> frames_;  // by running time, which is the element's timestamp
  guint frames_per_chunk_ = 0;
  size_t picture_ = 0;                   // hash of the latest frame's bytes
  std::atomic<double> first_shown_{-1};  // seconds; -1: not yet
};

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0;
  Setup setup;
  if (argc > 2) setup.properties = argv[2];
  if (argc > 3) setup.element = argv[3];
  int width = 0, height = 0;
  const bool sized = argc > 4 && argv[4][0] != 0;
  if (seconds < 1 || argc > 5 || (sized && std::sscanf(argv[4], "%dx%d", &width, &height) != 2))
    return std::fprintf(stderr, "bench-gate SECONDS >= 1 [PROPERTIES [ELEMENT [WIDTHxHEIGHT]]]\n"), 2;
  if (sized) setup.size = "width=" + std::to_string(width) + ",height=" + std::to_string(height);
  gst_init(nullptr, nullptr);
  std::setlocale(LC_NUMERIC, "C");
  json out;
  out["cold"] = Session(setup).play(1)["first_shown"];
  out["run"] = Session(setup).play(seconds);
  std::printf("%s\n", out.dump().c_str());
  return 0;
}
