// SPDX-License-Identifier: LGPL-2.1-or-later
#include "element_test.h"

#include <gmodule.h>

#include "../fake/fake_options.h"

namespace element_test {

const Fake& fake() {
  static const Fake table = [] {
    Fake f{};
    GModule* module = g_module_open(g_getenv("FLOWCACHE_ENGINE"), G_MODULE_BIND_LOCAL);
    if (module == nullptr) g_error("no fake engine: %s", g_module_error());
    const auto get = [&](const char* name, auto* entry) {
      gpointer symbol = nullptr;
      if (!g_module_symbol(module, name, &symbol)) g_error("the fake engine has no %s", name);
      *entry = reinterpret_cast<std::remove_reference_t<decltype(*entry)>>(symbol);
    };
    get("fake_live_engines", &f.live_engines);
    get("fake_live_streams", &f.live_streams);
    get("fake_live_chunks", &f.live_chunks);
    get("fake_opened_engines", &f.opened_engines);
    get("fake_prompts_taken", &f.prompts_taken);
    get("fake_restarts", &f.restarts);
    get("fake_fed_from_cuda", &f.fed_from_cuda);
    get("fake_hold_from", &f.hold_from);
    get("fake_opened_with", &f.opened_with);
    return f;
  }();
  return table;
}

ScopedEnv::ScopedEnv(const char* name, const char* value) : name_(name) {
  const char* before = g_getenv(name);
  had_ = before != nullptr;
  before_ = had_ ? before : "";
  g_setenv(name, value, TRUE);
}

ScopedEnv::~ScopedEnv() {
  if (had_) {
    g_setenv(name_.c_str(), before_.c_str(), TRUE);
  } else {
    g_unsetenv(name_.c_str());
  }
}

Seen look_at(GstBuffer* buffer, const GstVideoInfo& info) {
  GstVideoFrame frame;
  if (!gst_video_frame_map(&frame, &info, buffer, GST_MAP_READ)) {
    ADD_FAILURE() << "the buffer cannot be mapped";
    return {};
  }
  // Component 0 is luma or red. White is 255 or 235, black is 0 or 16 there.
  const auto* data = static_cast<const uint8_t*>(GST_VIDEO_FRAME_COMP_DATA(&frame, 0));
  const int stride = GST_VIDEO_FRAME_COMP_STRIDE(&frame, 0), pixel = GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, 0);
  const int width = GST_VIDEO_FRAME_WIDTH(&frame), height = GST_VIDEO_FRAME_HEIGHT(&frame);
  const auto band = [&](int number) {
    const int y = (2 * number + 1) * height / 6;
    uint32_t bits = 0;
    for (int i = 0; i < 16; ++i) {
      const int x = (2 * i + 1) * width / 32;
      bits = bits << 1 | (data[y * stride + x * pixel] > 127 ? 1u : 0u);
    }
    return bits;
  };
  const Seen seen{band(0), band(1)};
  gst_video_frame_unmap(&frame);
  return seen;
}

Seen look_at(GstSample* sample) {
  GstVideoInfo info;
  gst_video_info_from_caps(&info, gst_sample_get_caps(sample));
  return look_at(gst_sample_get_buffer(sample), info);
}

uint32_t hash_of(const std::string& prompt) {
  return fake::prompt_hash(prompt);
}

bool eventually(const std::function<bool()>& condition) {
  const gint64 end = g_get_monotonic_time() + GST_TIME_AS_USECONDS(kPatience);
  do {
    if (condition()) return true;
    g_usleep(1000);
  } while (g_get_monotonic_time() < end);
  return false;
}

namespace {
GstStructure* stats_of(GstElement* element) {
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  return stats;
}
}  // namespace

guint64 stat(GstElement* element, const char* field) {
  GstStructure* stats = stats_of(element);
  guint64 value = 0;
  guint small = 0;
  if (!gst_structure_get_uint64(stats, field, &value)) {
    if (!gst_structure_get_uint(stats, field, &small)) ADD_FAILURE() << "stats have no " << field;
    value = small;
  }
  gst_structure_free(stats);
  return value;
}

double stat_double(GstElement* element, const char* field) {
  GstStructure* stats = stats_of(element);
  double value = 0;
  if (!gst_structure_get_double(stats, field, &value)) ADD_FAILURE() << "stats have no " << field;
  gst_structure_free(stats);
  return value;
}

Source::Source(const std::string& properties, const char* sink_caps) {
  GError* error = nullptr;
  element_ = gst_parse_launch(("flowcachesrc " + properties).c_str(), &error);
  if (error != nullptr) g_error("%s", error->message);
  gst_object_ref_sink(element_);
  // A bin that does not change the source's state, because a harness starts elements that can have a sink
  // pad.
  GstElement* bin = gst_bin_new(nullptr);
  gst_element_set_locked_state(element_, TRUE);
  gst_bin_add(GST_BIN(bin), element_);
  GstPad* pad = gst_element_get_static_pad(element_, "src");
  gst_element_add_pad(bin, gst_ghost_pad_new("src", pad));
  gst_object_unref(pad);
  harness_ = gst_harness_new_with_element(bin, nullptr, "src");
  gst_object_unref(bin);
  gst_element_set_state(bin, GST_STATE_PLAYING);
  clock_ = GST_TEST_CLOCK(gst_test_clock_new());
  gst_element_set_clock(element_, GST_CLOCK(clock_));
  bus_ = gst_bus_new();
  gst_element_set_bus(element_, bus_);
  if (sink_caps != nullptr) gst_harness_set_sink_caps_str(harness_, sink_caps);
}

Source::~Source() {
  gst_element_set_state(element_, GST_STATE_NULL);
  gst_element_set_bus(element_, nullptr);
  gst_harness_teardown(harness_);
  gst_object_unref(element_);
  gst_object_unref(clock_);
  gst_object_unref(bus_);
}

void Source::use_clock(GstClockTime time) {
  gst_object_unref(clock_);
  clock_ = GST_TEST_CLOCK(gst_test_clock_new_with_start_time(time));
  gst_element_set_clock(element_, GST_CLOCK(clock_));
}

bool Source::tick(bool only_with_frames) {
  GstClockID next = nullptr;
  if (!gst_test_clock_peek_next_pending_id(clock_, &next)) return false;
  // The order matters: an element that waits now either has its frame or finds one as soon as it wakes up.
  if (only_with_frames && stat(element_, "ring-level") == 0) {
    gst_clock_id_unref(next);
    return false;
  }
  const GstClockTime time = MAX(gst_clock_id_get_time(next), gst_clock_get_time(GST_CLOCK(clock_)));
  gst_clock_id_unref(next);
  gst_test_clock_set_time(clock_, time);
  GstClockID rung = gst_test_clock_process_next_clock_id(clock_);
  if (rung != nullptr) gst_clock_id_unref(rung);
  return rung != nullptr;
}

GstBuffer* Source::pull(bool wait_for_ring) {
  const gint64 end = g_get_monotonic_time() + GST_TIME_AS_USECONDS(kPatience);
  do {
    if (GstBuffer* buffer = gst_harness_try_pull(harness_)) return buffer;
    if (!tick(wait_for_ring)) g_usleep(1000);
  } while (g_get_monotonic_time() < end);
  return nullptr;
}

std::vector<GstClockTime> Source::pull_times(int n) {
  std::vector<GstClockTime> times;
  for (int i = 0; i < n; ++i) {
    const BufferPtr buffer(pull());
    if (!buffer) break;
    times.push_back(GST_BUFFER_PTS(buffer.get()));
  }
  return times;
}

GstVideoInfo Source::info() const {
  GstVideoInfo info;
  GstPad* pad = gst_element_get_static_pad(element_, "src");
  GstCaps* caps = gst_pad_get_current_caps(pad);
  gst_video_info_from_caps(&info, caps);
  gst_caps_unref(caps);
  gst_object_unref(pad);
  return info;
}

GstMessage* Source::message(GstMessageType types) {
  return gst_bus_timed_pop_filtered(bus_, kPatience, types);
}

GstMessage* Source::element_message(const char* name, const char* state) {
  while (GstMessage* found = message(GST_MESSAGE_ELEMENT)) {
    const GstStructure* s = gst_message_get_structure(found);
    const char* its_state = gst_structure_get_string(s, "state");
    if (gst_structure_has_name(s, name) && (state == nullptr || g_strcmp0(state, its_state) == 0))
      return found;
    gst_message_unref(found);
  }
  return nullptr;
}

bool Source::has_message(GstMessageType types) {
  GstMessage* found = gst_bus_pop_filtered(bus_, types);
  if (found == nullptr) return false;
  gst_message_unref(found);
  return true;
}

std::string text_of(GstMessage* message) {
  GError* error = nullptr;
  char* debug = nullptr;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error(message, &error, &debug);
  } else {
    gst_message_parse_warning(message, &error, &debug);
  }
  const std::string text = std::string(error->message) + "\n" + (debug == nullptr ? "" : debug);
  g_clear_error(&error);
  g_free(debug);
  return text;
}

std::string run_to_end(GstElement* pipeline, GstMessage** error_message) {
  GstBus* bus = gst_element_get_bus(pipeline);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  GstMessage* message = gst_bus_timed_pop_filtered(
      bus, kPatience, static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  std::string text = message == nullptr ? "neither EOS nor an error came" : "";
  if (message != nullptr && GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) text = text_of(message);
  if (error_message != nullptr && !text.empty()) {
    *error_message = message;
  } else if (message != nullptr) {
    gst_message_unref(message);
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  return text;
}

std::string run_to_end(const std::string& launch_line) {
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch(launch_line.c_str(), &error);
  if (error != nullptr) {
    std::string text = error->message;
    g_clear_error(&error);
    if (pipeline != nullptr) gst_object_unref(pipeline);
    return text;
  }
  std::string text = run_to_end(pipeline);
  gst_object_unref(pipeline);
  return text;
}

}  // namespace element_test
