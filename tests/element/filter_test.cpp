// SPDX-License-Identifier: LGPL-2.1-or-later
#include "filter_test.h"

namespace filter_test {

GstBuffer* grey(uint8_t level, GstClockTime pts, int width, int height) {
  const auto size = static_cast<gsize>(4 * width * height);
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, size, nullptr);
  gst_buffer_memset(buffer, 0, level, size);
  GST_BUFFER_PTS(buffer) = pts;
  GST_BUFFER_DURATION(buffer) = kFrame;
  return buffer;
}

GstClockTime pts_of(const SamplePtr& sample) {
  return GST_BUFFER_PTS(gst_sample_get_buffer(sample.get()));
}

int fed_of(const SamplePtr& sample) {
  GstVideoInfo info;
  gst_video_info_from_caps(&info, gst_sample_get_caps(sample.get()));
  GstVideoFrame frame;
  if (!gst_video_frame_map(&frame, &info, gst_sample_get_buffer(sample.get()), GST_MAP_READ)) return -1;
  const int y = GST_VIDEO_FRAME_HEIGHT(&frame) * 5 / 6, x = GST_VIDEO_FRAME_WIDTH(&frame) / 2;
  const auto* data = static_cast<const uint8_t*>(GST_VIDEO_FRAME_COMP_DATA(&frame, 0));
  const int level =
      data[y * GST_VIDEO_FRAME_COMP_STRIDE(&frame, 0) + x * GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, 0)];
  gst_video_frame_unmap(&frame);
  return level;
}

GstClockTime least_latency(GstElement* element) {
  GstPad* pad = gst_element_get_static_pad(element, "src");
  GstQuery* query = gst_query_new_latency();
  GstClockTime least = GST_CLOCK_TIME_NONE;
  if (gst_pad_query(pad, query)) gst_query_parse_latency(query, nullptr, &least, nullptr);
  gst_query_unref(query);
  gst_object_unref(pad);
  return least;
}

testing::AssertionResult says(const std::string& text, const std::string& words) {
  if (text.find(words) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" has no \"" << words << '"';
}

Filter::Filter(const std::string& properties, const char* caps, bool live, const std::string& behind,
               const std::string& before, const std::string& more) {
  const std::string line = std::string("appsrc name=in format=time max-bytes=0 is-live=") +
                           (live ? "true" : "false") + before + " ! flowcachefilter name=f " + properties +
                           behind + " ! appsink name=out sync=false" + more;
  pipeline_ = gst_parse_launch(line.c_str(), nullptr);
  in_ = gst_bin_get_by_name(GST_BIN(pipeline_), "in");
  out_ = gst_bin_get_by_name(GST_BIN(pipeline_), "out");
  element_ = gst_bin_get_by_name(GST_BIN(pipeline_), "f");
  bus_ = gst_element_get_bus(pipeline_);
  use_caps(caps);
  gst_element_set_state(pipeline_, GST_STATE_PLAYING);
}

Filter::~Filter() {
  stop();
  for (GstElement* one : {in_, out_, element_, pipeline_}) gst_object_unref(one);
  gst_object_unref(bus_);
}

void Filter::use_caps(const char* text) {
  GstCaps* caps = gst_caps_from_string(text);
  gst_app_src_set_caps(GST_APP_SRC(in_), caps);
  gst_caps_unref(caps);
}

void Filter::push_frames(int first, int last) {
  for (int i = first; i < last; ++i)
    push(grey(static_cast<uint8_t>(i), static_cast<GstClockTime>(i) * kFrame));
}

// appsrc counts a buffer as gone before it pushes it, so the filter must have returned it, too.
bool Filter::all_taken(GstElement* source, const char* pad) const {
  GstPad* sink = gst_element_get_static_pad(element_, pad);
  const bool taken = eventually([&] {
    GstCaps* caps = gst_pad_get_current_caps(sink);
    const bool begun = caps != nullptr;
    gst_clear_caps(&caps);
    return begun && gst_app_src_get_current_level_bytes(GST_APP_SRC(source)) == 0;
  });
  GST_PAD_STREAM_LOCK(sink);
  GST_PAD_STREAM_UNLOCK(sink);
  gst_object_unref(sink);
  return taken;
}

MessagePtr Filter::message(GstMessageType types, const std::function<bool(GstMessage*)>& wanted) {
  while (GstMessage* one = gst_bus_timed_pop_filtered(bus_, kPatience, types)) {
    if (!wanted || wanted(one)) return MessagePtr(one);
    gst_message_unref(one);
  }
  return nullptr;
}

MessagePtr Filter::element_message(const char* name) {
  return message(GST_MESSAGE_ELEMENT,
                 [&](GstMessage* one) { return gst_message_has_name(one, name) != FALSE; });
}

MessagePtr Filter::prompt_message(const char* prompt, const char* state) {
  return message(GST_MESSAGE_ELEMENT, [&](GstMessage* one) {
    const GstStructure* s = gst_message_get_structure(one);
    return gst_structure_has_name(s, "flowcache-prompt") &&
           g_strcmp0(gst_structure_get_string(s, "prompt"), prompt) == 0 &&
           g_strcmp0(gst_structure_get_string(s, "state"), state) == 0;
  });
}

bool Filter::has_message(GstMessageType types) {
  GstMessage* one = gst_bus_pop_filtered(bus_, types);
  if (one != nullptr) gst_message_unref(one);
  return one != nullptr;
}

bool Filter::is_loaded() {
  return message(GST_MESSAGE_PROGRESS, [](GstMessage* one) {
           GstProgressType type;
           gst_message_parse_progress(one, &type, nullptr, nullptr);
           return type == GST_PROGRESS_TYPE_COMPLETE;
         }) != nullptr;
}

}  // namespace filter_test
