// SPDX-License-Identifier: LGPL-2.1-or-later
// The filter's caps: what the model takes of the input, and the buffer pool of what goes out.
#include <string>

#include "filter.h"
#include "output.h"

namespace flowcache::gst::filtering {
namespace {

std::string mismatch(const GstCaps* ours, const GstCaps* input) {
  return "The model cannot take this input. " +
         explain_mismatch(ours, input, {"the model takes", "the input has"}) +
         ". Put videoconvertscale ! videorate before flowcachefilter.";
}

}  // namespace

GstCaps* own_caps(const fc_model_info& model) {
  GstCaps* caps = caps_of(model);
  for (guint i = 0; i < gst_caps_get_size(caps); ++i)
    gst_structure_set(gst_caps_get_structure(caps, i), "framerate", GST_TYPE_FRACTION,
                      static_cast<int>(model.fps_n), static_cast<int>(model.fps_d), nullptr);
  return caps;
}

GstCaps* sink_caps(Call& call, GstCaps* filter) {
  const fc_model_info model = call.model();
  GstCaps* caps = model.width > 0 ? own_caps(model) : gst_pad_get_pad_template_caps(call.element->sink);
  // What goes out has the format of what comes in.
  GstCaps* wanted = gst_pad_peer_query_caps(call.element->src, caps);
  GstCaps* common = gst_caps_intersect_full(wanted, caps, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(wanted);
  gst_caps_unref(caps);
  if (filter == nullptr) return common;
  GstCaps* filtered = gst_caps_intersect_full(filter, common, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(common);
  return filtered;
}

void explain_refusal(Call& call, const GstCaps* input) {
  const fc_model_info model = call.model();
  if (model.width == 0 || input == nullptr || gst_caps_is_any(input) || gst_caps_is_empty(input)) return;
  GstCaps* ours = own_caps(model);
  if (!gst_caps_can_intersect(ours, input) && !call.filter.mismatch_told.exchange(true))
    GST_ELEMENT_WARNING(call.element, CORE, NEGOTIATION, ("%s", mismatch(ours, input).c_str()),
                        ("ours: %" GST_PTR_FORMAT ", input: %" GST_PTR_FORMAT, ours, input));
  gst_caps_unref(ours);
}

bool take_caps(Call& call, GstEvent* event) {
  FilterState& filter = call.filter;
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  if (filter.caps != nullptr && gst_caps_is_equal(filter.caps, caps)) {
    append(call, {EventItem{event}});
    return true;
  }
  const fc_model_info model = call.model();
  GstCaps* ours = own_caps(model);
  GstVideoInfo info;
  const bool accepted = gst_caps_can_intersect(ours, caps) && gst_video_info_from_caps(&info, caps);
  if (!accepted) {
    GST_ELEMENT_ERROR(call.element, CORE, NEGOTIATION, ("%s", mismatch(ours, caps).c_str()),
                      ("ours: %" GST_PTR_FORMAT ", input: %" GST_PTR_FORMAT, ours, caps));
    gst_event_unref(event);
  }
  gst_caps_unref(ours);
  if (!accepted) return false;
  const bool begun = call.worker != nullptr;
  const bool same_size = begun && GST_VIDEO_INFO_WIDTH(&info) == GST_VIDEO_INFO_WIDTH(&filter.info) &&
                         GST_VIDEO_INFO_HEIGHT(&info) == GST_VIDEO_INFO_HEIGHT(&filter.info);
  if (begun) drain(call);
  if (begun && !same_size) stop_worker(call);
  gst_caps_replace(&filter.caps, caps);
  filter.info = info;
  append(call, {EventItem{event}});
  if (!same_size) start_worker(call);
  return true;
}

bool use_caps(Call& call, GstEvent* event) {
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  FilterState& filter = call.filter;
  if (!gst_video_info_from_caps(&filter.out_info, caps)) return false;
  if (filter.pool != nullptr) {
    gst_buffer_pool_set_active(filter.pool, FALSE);
    gst_clear_object(&filter.pool);
  }
  auto size = static_cast<guint>(filter.out_info.size);
  filter.pool = configured_pool(gst_video_buffer_pool_new(), caps, &size, 0, 0, false);
  return filter.pool != nullptr && gst_buffer_pool_set_active(filter.pool, TRUE);
}

}  // namespace flowcache::gst::filtering
