// SPDX-License-Identifier: LGPL-2.1-or-later
#include "run.h"

#include <glib-unix.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace demo {
namespace {

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint64_t number(const GstStructure* stats, const char* name) {
  guint64 value = 0;
  guint small = 0;
  if (gst_structure_get_uint64(stats, name, &value)) return value;
  return gst_structure_get_uint(stats, name, &small) ? small : 0;
}

Stats read_stats(GstElement* source) {
  Stats out;
  GstStructure* stats = nullptr;
  g_object_get(source, "stats", &stats, nullptr);
  if (!stats) return out;
  out.chunks = number(stats, "chunks");
  out.steps_computed = number(stats, "steps-computed");
  out.steps_reused = number(stats, "steps-reused");
  out.kv_bytes = number(stats, "kv-bytes");
  out.kv_budget = number(stats, "kv-budget");
  out.repeated = number(stats, "repeated");
  gst_structure_get_double(stats, "chunk-ms-p50", &out.chunk_ms);
  gst_structure_free(stats);
  return out;
}

class Run {
 public:
  explicit Run(const RunConfig& config) : config_(config), terminal_(isatty(STDOUT_FILENO) != 0) {}

  RunResult go() {
    GError* error = nullptr;
    pipeline_ = gst_parse_launch(config_.description.c_str(), &error);
    if (error) {
      result_.error = error->message;
      g_clear_error(&error);
      if (pipeline_) gst_object_unref(pipeline_);
      return std::move(result_);
    }
    source_ = gst_bin_get_by_name(GST_BIN(pipeline_), "source");
    loop_ = g_main_loop_new(nullptr, FALSE);
    GstPad* pad = gst_element_get_static_pad(source_, "src");
    gst_pad_add_probe(
        pad, static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM),
        on_pad, this, nullptr);
    gst_object_unref(pad);
    loop();
    gst_element_set_state(pipeline_, GST_STATE_NULL);
    gst_object_unref(source_);
    gst_object_unref(pipeline_);
    g_main_loop_unref(loop_);
    return std::move(result_);
  }

 private:
  void loop() {
    GstBus* bus = gst_element_get_bus(pipeline_);
    const guint watch = gst_bus_add_watch(bus, on_message, this);
    const guint tick = g_timeout_add(terminal_ ? 250 : 2000, on_tick, this);
    const guint signal = g_unix_signal_add(SIGINT, on_interrupt, this);
    gst_element_set_state(pipeline_, GST_STATE_PLAYING);
    g_main_loop_run(loop_);
    read_final_stats();
    g_source_remove(signal);
    g_source_remove(tick);
    g_source_remove(watch);
    gst_object_unref(bus);
    if (terminal_) std::printf("\r\033[K");
  }

  void read_final_stats() {
    result_.stats = read_stats(source_);
    const std::lock_guard lock(mutex_);
    result_.frames = frames_;
    result_.pad_seconds = std::chrono::duration<double>(last_frame_ - first_frame_).count();
  }

  // On the streaming thread: counts, times and keeps frames as they leave the source.
  static GstPadProbeReturn on_pad(GstPad*, GstPadProbeInfo* info, gpointer user) {
    auto* self = static_cast<Run*>(user);
    if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
      self->frame(GST_PAD_PROBE_INFO_BUFFER(info));
    } else if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_CAPS) {
      GstCaps* caps = nullptr;
      GstVideoInfo video;
      gst_event_parse_caps(GST_PAD_PROBE_INFO_EVENT(info), &caps);
      if (gst_video_info_from_caps(&video, caps)) self->result_.kept.set_info(video);
    }
    return GST_PAD_PROBE_OK;
  }

  void frame(GstBuffer* buffer) {
    const std::lock_guard lock(mutex_);
    if (frames_++ == 0) {
      result_.first_frame_seconds = since(start_);
      first_frame_ = Clock::now();
    }
    last_frame_ = Clock::now();
    if (GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_GAP))
      return;  // a repeat, where no new frame was ready in time
    const uint64_t number = generated_++;
    if (number < config_.keep_first || config_.keep_also.count(number)) result_.kept.add(number, buffer);
  }

  static gboolean on_message(GstBus*, GstMessage* message, gpointer user) {
    static_cast<Run*>(user)->message(message);
    return G_SOURCE_CONTINUE;
  }

  void message(GstMessage* message) {
    switch (GST_MESSAGE_TYPE(message)) {
      case GST_MESSAGE_EOS:
        g_main_loop_quit(loop_);
        break;
      case GST_MESSAGE_ERROR: {
        GError* error = nullptr;
        gchar* debug = nullptr;
        gst_message_parse_error(message, &error, &debug);
        result_.error = error->message;
        g_clear_error(&error);
        g_free(debug);
        g_main_loop_quit(loop_);
        break;
      }
      case GST_MESSAGE_WARNING: {
        GError* warning = nullptr;
        gst_message_parse_warning(message, &warning, nullptr);
        line("warning: %s", warning->message);
        g_clear_error(&warning);
        break;
      }
      case GST_MESSAGE_PROGRESS:
        progress(message);
        break;
      case GST_MESSAGE_LATENCY:
        gst_bin_recalculate_latency(GST_BIN(pipeline_));
        break;
      default:
        break;
    }
  }

  void progress(GstMessage* message) {
    GstProgressType type;
    gchar *code = nullptr, *text = nullptr;
    gst_message_parse_progress(message, &type, &code, &text);
    gint percent = 0;
    gst_structure_get_int(gst_message_get_structure(message), "percent", &percent);
    // The last CONTINUE message says 100 %, and so does COMPLETE: only one of them is printed.
    const bool news = type != GST_PROGRESS_TYPE_COMPLETE && percent < 100;
    if (news || type == GST_PROGRESS_TYPE_COMPLETE) line("%s: %s (%d %%)", code, text, news ? percent : 100);
    g_free(code);
    g_free(text);
  }

  static gboolean on_interrupt(gpointer user) {
    auto* self = static_cast<Run*>(user);
    if (self->result_.interrupted) {
      self->result_.error = "interrupted";
      g_main_loop_quit(self->loop_);
    } else {
      self->result_.interrupted = true;
      self->line("interrupted: finishing the file (once more: at once)");
      gst_element_send_event(self->pipeline_, gst_event_new_eos());
    }
    return G_SOURCE_CONTINUE;
  }

  static gboolean on_tick(gpointer user) {
    static_cast<Run*>(user)->tick();
    return G_SOURCE_CONTINUE;
  }

  double frames_per_second() const {
    const double seconds = std::chrono::duration<double>(last_frame_ - first_frame_).count();
    return seconds > 0 ? static_cast<double>(frames_ - 1) / seconds : 0;
  }

  // How much faster than playback the engine makes a chunk.
  double times_real_time(const Stats& stats) const {
    return stats.chunk_ms > 0 ? config_.frames_per_chunk / config_.fps / stats.chunk_ms * 1e3 : 0;
  }

  void tick() {
    const Stats stats = read_stats(source_);
    const std::lock_guard lock(mutex_);
    if (frames_ == 0 || (!terminal_ && frames_ == frames_said_)) return;
    frames_said_ = frames_;
    const double fps = frames_per_second();
    char text[256];
    std::snprintf(text, sizeof text,
                  "%s %5.1f of %.1f s | %4.1f fps at the pad | %.1f x real time | steps %llu computed, %llu "
                  "reused | KV %.1f of %.1f MB",
                  config_.label.c_str(), static_cast<double>(frames_) / config_.fps,
                  static_cast<double>(config_.total_frames) / config_.fps, fps, times_real_time(stats),
                  static_cast<unsigned long long>(stats.steps_computed),
                  static_cast<unsigned long long>(stats.steps_reused),
                  static_cast<double>(stats.kv_bytes) / 1e6, static_cast<double>(stats.kv_budget) / 1e6);
    std::printf(terminal_ ? "\r\033[K%s" : "%s\n", text);
    std::fflush(stdout);
  }

  template <typename... Arguments>
  void line(const char* format, Arguments... arguments) {
    std::printf("%s%s ", terminal_ ? "\r\033[K" : "", config_.label.c_str());
    std::printf(format, arguments...);
    std::printf("\n");
    std::fflush(stdout);
  }

  const RunConfig& config_;
  const bool terminal_;
  const Clock::time_point start_ = Clock::now();
  GstElement* pipeline_ = nullptr;
  GstElement* source_ = nullptr;
  GMainLoop* loop_ = nullptr;
  std::mutex mutex_;  // frames_ and the times: written on the streaming thread, read on the main one
  uint64_t frames_ = 0, generated_ = 0;
  uint64_t frames_said_ = 0;  // main thread only
  Clock::time_point first_frame_, last_frame_;
  RunResult result_;
};

}  // namespace

RunResult run(const RunConfig& config) {
  return Run(config).go();
}

}  // namespace demo
