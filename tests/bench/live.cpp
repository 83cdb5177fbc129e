// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-live [CHUNKS] [PROPERTIES]: a live stream with x264enc beside it and a load of busy threads, one a
// core, that comes and goes five times. One line a spell: frames repeated in the first second of it and after
// that, and how many steps were computed. PROPERTIES are flowcachesrc's; "! CAPS" behind them asks for a
// size.
#include <gst/gst.h>

#include <algorithm>
#include <atomic>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/resources.h"
#include "base/sleep_at_barriers.h"

namespace {

class Load {
 public:
  Load() {
    for (unsigned i = 0; i < flowcache::allowed_cpus(); ++i)
      threads_.emplace_back([this] {
        while (!stop_) {
        }
      });
  }
  ~Load() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

struct Spell {
  bool loaded = false;
  guint64 frames = 0, first_second = 0, later = 0;  // the last two: repeated frames
  guint64 steps_computed = 0, chunks = 0;
};

// Written by the streaming thread.
struct Watch {
  std::vector<Spell> spells;
  std::unique_ptr<Load> load;
  guint64 frames = 0, spell_frames = 0, rate = 16;
  GstElement* source = nullptr;
};

guint64 stat(GstElement* source, const char* field) {
  GstStructure* stats = nullptr;
  g_object_get(source, "stats", &stats, nullptr);
  guint64 value = 0;
  gst_structure_get_uint64(stats, field, &value);
  gst_structure_free(stats);
  return value;
}

void begin_spell(Watch& watch) {
  const guint64 steps = stat(watch.source, "steps-computed"), chunks = stat(watch.source, "chunks");
  if (!watch.spells.empty()) {
    Spell& last = watch.spells.back();
    last.steps_computed = steps - last.steps_computed;
    last.chunks = chunks - last.chunks;
  }
  Spell next;
  next.loaded = watch.spells.size() % 2 == 1;
  next.steps_computed = steps;
  next.chunks = chunks;
  watch.spells.push_back(next);
  watch.load = next.loaded ? std::make_unique<Load>() : nullptr;
}

GstPadProbeReturn on_frame(GstPad*, GstPadProbeInfo* info, gpointer user) {
  auto& watch = *static_cast<Watch*>(user);
  if (watch.frames++ % watch.spell_frames == 0) begin_spell(watch);
  Spell& spell = watch.spells.back();
  const bool repeated = GST_BUFFER_FLAG_IS_SET(GST_PAD_PROBE_INFO_BUFFER(info), GST_BUFFER_FLAG_GAP);
  if (repeated) ++(spell.frames < watch.rate ? spell.first_second : spell.later);
  ++spell.frames;
  return GST_PAD_PROBE_OK;
}

std::string run(GstElement* pipeline) {
  GstBus* bus = gst_element_get_bus(pipeline);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  std::string error;
  for (bool done = false; !done;) {
    GstMessage* message =
        gst_bus_timed_pop_filtered(bus, GST_CLOCK_TIME_NONE,
                                   static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR |
                                                               GST_MESSAGE_WARNING | GST_MESSAGE_LATENCY));
    GError* problem = nullptr;
    switch (GST_MESSAGE_TYPE(message)) {
      case GST_MESSAGE_LATENCY:
        gst_bin_recalculate_latency(GST_BIN(pipeline));
        break;
      case GST_MESSAGE_WARNING:
        gst_message_parse_warning(message, &problem, nullptr);
        std::printf("warning: %s\n", problem->message);
        break;
      case GST_MESSAGE_ERROR:
        gst_message_parse_error(message, &problem, nullptr);
        error = problem->message;
        done = true;
        break;
      default:
        done = true;
    }
    g_clear_error(&problem);
    gst_message_unref(message);
  }
  gst_object_unref(bus);
  return error;
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  gst_init(nullptr, nullptr);
  std::setlocale(LC_NUMERIC, "C");
  const guint64 chunks = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200;
  const std::string properties = argc > 2 ? argv[2] : "";
  constexpr guint64 frames_per_chunk = 12;  // of the model that ships
  if (chunks < 11) return std::fprintf(stderr, "bench-live [CHUNKS >= 11] [PROPERTIES]\n"), 2;
  const guint64 frames = chunks * frames_per_chunk;
  GError* problem = nullptr;
  GstElement* pipeline = gst_parse_launch(("flowcachesrc name=source prompt=\"orange fire\" num-buffers=" +
                                           std::to_string(frames) + " " + properties +
                                           " ! queue ! videoconvert ! x264enc tune=zerolatency "
                                           "speed-preset=veryfast bitrate=2000 key-int-max=32 ! fakesink")
                                              .c_str(),
                                          &problem);
  if (problem != nullptr) return std::fprintf(stderr, "bench-live: %s\n", problem->message), 1;
  Watch watch;
  watch.spell_frames = frames / 11 + 1;
  watch.source = gst_bin_get_by_name(GST_BIN(pipeline), "source");
  GstPad* pad = gst_element_get_static_pad(watch.source, "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, &watch, nullptr);
  const std::string error = run(pipeline);
  if (!watch.spells.empty()) begin_spell(watch);  // closes the last one
  watch.load.reset();
  gst_element_set_state(pipeline, GST_STATE_NULL);
  if (!error.empty()) return std::fprintf(stderr, "bench-live: %s\n", error.c_str()), 1;
  guint64 late = 0;
  for (size_t i = 0; i + 1 < watch.spells.size(); ++i) {
    const Spell& spell = watch.spells[i];
    std::printf(
        "%-6s %5.1f s  repeated in the first second %3" G_GUINT64_FORMAT ", later %3" G_GUINT64_FORMAT
        "  computed steps a chunk %4.1f\n",
        spell.loaded ? "loaded" : "alone",
        static_cast<double>(spell.frames) / static_cast<double>(watch.rate), spell.first_second, spell.later,
        static_cast<double>(spell.steps_computed) / static_cast<double>(std::max<guint64>(1, spell.chunks)));
    late += spell.later;
  }
  std::printf("repeated after the first second of a change: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
              " frames\n",
              late, frames);
  gst_object_unref(pad);
  gst_object_unref(watch.source);
  gst_object_unref(pipeline);
  return 0;
}
