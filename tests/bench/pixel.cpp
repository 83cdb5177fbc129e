// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-pixel SECONDS [PROPERTIES] [WIDTHxHEIGHT]: the time from a pixel in to the pixel out of flowcachefilter, by a picture
// that turns black and white. Frames come live, at the model's rate; each turn falls on another place of a chunk. A turn is
// out with the first frame that is on the new side of the middle between black and white as they come out. Two runs: as
// frames leave the element (a sink that takes all at once), and as a sink shows them at their time. PROPERTIES are added to
// those of flowcachefilter; strength=0.2 is the default here, so that a flash remains one.
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/sleep_at_barriers.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr int rate = 16;  // frames a second, of the model that ships

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench-pixel: %s\n", why.c_str());
  std::exit(1);
}

struct Size {
  int width = 512, height = 288;
};

// What goes in: a turn every 20 to 32 frames, so that all places of a chunk of 12 have their turn.
class Flashes {
 public:
  explicit Flashes(int frames) {
    for (int next = 20, turn = 0; next < frames; next += 20 + 5 * turn++ % 13) turns_.push_back(next);
  }
  const std::vector<int>& turns() const { return turns_; }
  bool white(int frame) const {
    return (std::upper_bound(turns_.begin(), turns_.end(), frame) - turns_.begin()) % 2 == 1;
  }

 private:
  std::vector<int> turns_;
};

struct Out {
  double seconds = 0;  // after the start
  double level = 0;    // mean luma, 0..255
};

struct Result {
  std::vector<double> in;      // by frame: when it was pushed
  std::map<int, Out> out;      // by the frame that it was
  std::vector<double> chunks;  // milliseconds
  GstClockTime latency = 0;
  guint64 skipped = 0;
};

class Session {
 public:
  Session(const std::string& properties, const Size& size, bool sync) : size_(size) {
    const std::string line =
        "appsrc name=in is-live=true format=time max-buffers=2 ! flowcachefilter name=filter strength=0.2 "
        "report-chunks=true " +
        properties + " ! fakesink name=sink signal-handoffs=true sync=" + (sync ? "true" : "false");
    GError* error = nullptr;
    pipeline_ = gst_parse_launch(line.c_str(), &error);
    if (error) give_up(error->message);
    source_ = gst_bin_get_by_name(GST_BIN(pipeline_), "in");
    filter_ = gst_bin_get_by_name(GST_BIN(pipeline_), "filter");
    sink_ = gst_bin_get_by_name(GST_BIN(pipeline_), "sink");
    GstCaps* caps = gst_caps_new_simple(
        "video/x-raw", "format", G_TYPE_STRING, "I420", "width", G_TYPE_INT, size.width, "height", G_TYPE_INT,
        size.height, "framerate", GST_TYPE_FRACTION, rate, 1, "colorimetry", G_TYPE_STRING, "bt709", nullptr);
    gst_app_src_set_caps(GST_APP_SRC(source_), caps);
    gst_caps_unref(caps);
    g_signal_connect(sink_, "handoff", G_CALLBACK(on_out), this);
  }
  ~Session() {
    gst_element_set_state(pipeline_, GST_STATE_NULL);
    for (gpointer object : {gpointer(source_), gpointer(filter_), gpointer(sink_), gpointer(pipeline_)})
      gst_object_unref(object);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Frames until `frames` have come after the first that came out.
  Result play(int frames, const Flashes& flashes) {
    gst_element_set_state(pipeline_, GST_STATE_PLAYING);
    std::thread feeder([&] { feed(flashes, frames); });
    GstBus* bus = gst_element_get_bus(pipeline_);
    while (!done_) {
      GstMessage* message = gst_bus_timed_pop(bus, 50 * GST_MSECOND);
      if (!message) continue;
      handle(message);
      gst_message_unref(message);
    }
    feeder.join();
    gst_object_unref(bus);
    ask_latency();
    const std::lock_guard lock(mutex_);
    return result_;
  }

 private:
  double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  void feed(const Flashes& flashes, int frames) {
    const auto begin = Clock::now();
    const size_t luma = static_cast<size_t>(size_.width) * static_cast<size_t>(size_.height);
    for (int i = 0, first = -1; first < 0 || i < first + frames; ++i) {
      if (first < 0 && i > 55 * rate) give_up("no frame came out within 55 seconds");
      std::this_thread::sleep_until(begin + i * std::chrono::microseconds(1'000'000 / rate));
      GstBuffer* buffer = gst_buffer_new_allocate(nullptr, luma * 3 / 2, nullptr);
      gst_buffer_memset(buffer, 0, flashes.white(i) ? 235 : 16, luma);
      gst_buffer_memset(buffer, luma, 128, luma / 2);
      GST_BUFFER_PTS(buffer) = gst_util_uint64_scale(static_cast<guint64>(i), GST_SECOND, rate);
      GST_BUFFER_DURATION(buffer) = GST_SECOND / rate;
      {
        const std::lock_guard lock(mutex_);
        result_.in.push_back(now());
        if (first < 0 && !result_.out.empty()) first = i;
      }
      if (gst_app_src_push_buffer(GST_APP_SRC(source_), buffer) != GST_FLOW_OK) break;
    }
    done_ = true;
  }

  static void on_out(GstElement*, GstBuffer* buffer, GstPad*, gpointer user) {
    auto& self = *static_cast<Session*>(user);
    const double at = self.now();
    GstMapInfo map;
    if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) give_up("a frame cannot be read");
    const size_t luma = static_cast<size_t>(self.size_.width) * static_cast<size_t>(self.size_.height);
    guint64 sum = 0;
    for (size_t i = 0; i < luma; ++i) sum += map.data[i];
    gst_buffer_unmap(buffer, &map);
    const auto frame =
        static_cast<int>(gst_util_uint64_scale_round(GST_BUFFER_PTS(buffer), rate, GST_SECOND));
    const std::lock_guard lock(self.mutex_);
    self.result_.out[frame] = {at, static_cast<double>(sum) / static_cast<double>(luma)};
  }

  void handle(GstMessage* message) {
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_LATENCY) gst_bin_recalculate_latency(GST_BIN(pipeline_));
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
      GError* error = nullptr;
      gst_message_parse_error(message, &error, nullptr);
      give_up(error->message);
    }
    const GstStructure* said = gst_message_get_structure(message);
    double milliseconds = 0;
    if (said && gst_structure_has_name(said, "flowcache-chunk") &&
        gst_structure_get_double(said, "milliseconds", &milliseconds)) {
      const std::lock_guard lock(mutex_);
      result_.chunks.push_back(milliseconds);
    }
  }

  void ask_latency() {
    GstStructure* stats = nullptr;
    g_object_get(filter_, "stats", &stats, nullptr);
    GstPad* pad = gst_element_get_static_pad(filter_, "src");
    GstQuery* query = gst_query_new_latency();
    if (!gst_pad_query(pad, query)) give_up("the element does not say its latency");
    const std::lock_guard lock(mutex_);
    gst_structure_get_uint64(stats, "skipped", &result_.skipped);
    gst_query_parse_latency(query, nullptr, &result_.latency, nullptr);
    gst_query_unref(query);
    gst_object_unref(pad);
    gst_structure_free(stats);
  }

  const Size size_;
  const Clock::time_point start_ = Clock::now();
  GstElement *pipeline_ = nullptr, *source_ = nullptr, *filter_ = nullptr, *sink_ = nullptr;
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  Result result_;
};

double middle(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void report(const char* what, const Result& run, const Flashes& flashes) {
  std::vector<double> black, white, times, frames;
  for (const auto& [frame, out] : run.out) (flashes.white(frame) ? white : black).push_back(out.level);
  const double dark = middle(black), bright = middle(white);
  if (white.empty() || black.empty() || bright - dark < 40)
    give_up("black comes out as " + std::to_string(dark) + " and white as " + std::to_string(bright) +
            ": no flash can be seen; take a lower strength, or more seconds");
  size_t missed = 0;
  const int first = run.out.begin()->first, last = run.out.rbegin()->first;
  for (const int turn : flashes.turns()) {
    // A turn needs frames of both sides, without a gap between them.
    if (turn <= first || turn + 12 > last) continue;
    const double in = run.in[static_cast<size_t>(turn)];
    const auto seen =
        std::find_if(run.out.lower_bound(std::max(first, turn - 12)), run.out.end(), [&](const auto& one) {
          return one.second.seconds > in && (one.second.level > (dark + bright) / 2) == flashes.white(turn);
        });
    if (seen == run.out.end() || seen->first > turn + 12) {
      ++missed;
      continue;
    }
    times.push_back(1e3 * (seen->second.seconds - in));
    frames.push_back(seen->first - turn);
  }
  if (times.empty()) give_up("no turn was seen: more seconds");
  const auto [least, most] = std::minmax_element(times.begin(), times.end());
  const auto [early, late] = std::minmax_element(frames.begin(), frames.end());
  std::printf(
      "%-26s least %.0f, median %.0f, most %.0f ms (%zu turns, %zu missed; seen %+.0f to %+.0f frames from "
      "the one that "
      "turned; %llu frames left out)\n",
      what, *least, middle(times), *most, times.size(), missed, *early, *late,
      static_cast<unsigned long long>(run.skipped));
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0;
  Size size;
  if (seconds < 5 || argc > 4 || (argc > 3 && std::sscanf(argv[3], "%dx%d", &size.width, &size.height) != 2))
    return std::fprintf(stderr, "bench-pixel SECONDS >= 5 [PROPERTIES] [WIDTHxHEIGHT]\n"), 2;
  gst_init(nullptr, nullptr);
  std::setlocale(LC_NUMERIC, "C");
  const std::string properties = argc > 2 ? argv[2] : "";
  const int frames = static_cast<int>(seconds * rate);
  const Flashes flashes(frames + 60 * rate);
  std::printf("pixel in to pixel out at %dx%d, %d frames a second\n", size.width, size.height, rate);
  report("as it leaves the element", Session(properties, size, false).play(frames, flashes), flashes);
  const Result shown = Session(properties, size, true).play(frames, flashes);
  report("as a sink shows it", shown, flashes);
  std::vector<double> chunks = shown.chunks;
  std::sort(chunks.begin(), chunks.end());
  if (!chunks.empty())
    std::printf("a chunk plays %.0f ms; computing it took %.0f ms (p95 %.0f); LATENCY says %.0f ms\n",
                12e3 / rate, middle(chunks), chunks[chunks.size() * 95 / 100],
                static_cast<double>(shown.latency) / GST_MSECOND);
  return 0;
}
