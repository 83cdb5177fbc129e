// SPDX-License-Identifier: LGPL-2.1-or-later
// The queries of both pads.
#include "filter.h"
#include "output.h"

namespace flowcache::gst::filtering {
namespace {

constexpr guint kFramesAhead = 4;  // that a codec may take before those that it shows

// A frame waits until its chunk is complete, and then for its computing.
bool answer_latency(Call& call, GstQuery* query) {
  if (!gst_pad_peer_query(call.element->sink, query)) return false;
  gboolean live = FALSE;
  GstClockTime least = 0, most = GST_CLOCK_TIME_NONE;
  gst_query_parse_latency(query, &live, &least, &most);
  GstClockTime chunk = 0, own = 0;
  {
    std::lock_guard lock(call.state.mutex);
    const fc_model_info& model = call.state.model;
    if (model.fps_n == 0) return false;
    chunk = gst_util_uint64_scale(GST_SECOND, guint64{model.frames_per_chunk} * model.fps_d, model.fps_n);
  }
  own = chunk + MIN(jitter_budget(call.state), GST_CLOCK_TIME_NONE / 4);
  least = least > GST_CLOCK_TIME_NONE / 4 ? least : least + own;
  // One more chunk may wait here.
  if (GST_CLOCK_TIME_IS_VALID(most)) most = most > GST_CLOCK_TIME_NONE / 4 ? most : most + own + chunk;
  gst_query_set_latency(query, live, least, most);
  return true;
}

bool answer_context(Call& call, GstQuery* query) {
  return call.state.gl.answer(call.gst(), query) || call.state.cuda.answer(call.gst(), query);
}

// Buffers are read as they are, wherever their planes lie, and those of a chunk are kept until it is complete.
bool answer_allocation(Call& call, GstQuery* query) {
  GstCaps* caps = nullptr;
  gst_query_parse_allocation(query, &caps, nullptr);
  GstVideoInfo info;
  if (caps == nullptr || !gst_video_info_from_caps(&info, caps)) return false;
  const guint kept = call.model().frames_per_chunk + kFramesAhead;
  gst_query_add_allocation_pool(query, nullptr, static_cast<guint>(info.size), kept, 0);
  gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr);
  gst_query_add_allocation_meta(query, GST_VIDEO_CROP_META_API_TYPE, nullptr);
  return true;
}

}  // namespace

gboolean sink_query(GstPad* pad, GstObject* parent, GstQuery* query) {
  Call call(parent);
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_CAPS: {
      GstCaps* filter = nullptr;
      gst_query_parse_caps(query, &filter);
      GstCaps* caps = sink_caps(call, filter);
      if (gst_caps_is_empty(caps)) explain_refusal(call, filter);
      gst_query_set_caps_result(query, caps);
      gst_caps_unref(caps);
      return TRUE;
    }
    case GST_QUERY_ACCEPT_CAPS: {
      // All raw video, so that the event comes and the error can say what does not fit.
      GstCaps* caps = nullptr;
      gst_query_parse_accept_caps(query, &caps);
      const bool raw = gst_caps_get_size(caps) == 1 &&
                       gst_structure_has_name(gst_caps_get_structure(caps, 0), "video/x-raw");
      gst_query_set_accept_caps_result(query, raw);
      return TRUE;
    }
    case GST_QUERY_ALLOCATION:
      return answer_allocation(call, query);
    case GST_QUERY_CONTEXT:
      return answer_context(call, query) || gst_pad_query_default(pad, parent, query);
    default:
      return gst_pad_query_default(pad, parent, query);
  }
}

gboolean src_query(GstPad* pad, GstObject* parent, GstQuery* query) {
  Call call(parent);
  if (GST_QUERY_TYPE(query) == GST_QUERY_LATENCY) return answer_latency(call, query);
  if (GST_QUERY_TYPE(query) == GST_QUERY_CONTEXT && answer_context(call, query)) return TRUE;
  if (GST_QUERY_TYPE(query) == GST_QUERY_CAPS) {
    GstCaps* filter = nullptr;
    gst_query_parse_caps(query, &filter);
    const fc_model_info model = call.model();
    GstCaps* caps = model.width > 0 ? in_all_memories(own_caps(model)) : gst_pad_get_pad_template_caps(pad);
    if (filter != nullptr) {
      GstCaps* filtered = gst_caps_intersect_full(filter, caps, GST_CAPS_INTERSECT_FIRST);
      gst_caps_unref(caps);
      caps = filtered;
    }
    gst_query_set_caps_result(query, caps);
    gst_caps_unref(caps);
    return TRUE;
  }
  return gst_pad_query_default(pad, parent, query);
}

}  // namespace flowcache::gst::filtering
