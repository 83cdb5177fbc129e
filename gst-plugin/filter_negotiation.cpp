// SPDX-License-Identifier: LGPL-2.1-or-later
// The filter's caps: what the model takes of the input, and the buffer pool of what goes out.
#include <string>

#include "filter.h"
#include "output.h"

namespace flowcache::gst::filtering {
namespace {

// The same picture in another memory would not fit either.
std::string mismatch(const GstCaps* ours, const GstCaps* input) {
  GstCaps* plain = in_system_memory(input);
  const std::string reason = explain_mismatch(ours, plain, {"the model takes", "the input has"});
  gst_caps_unref(plain);
  return "The model cannot take this input. " + reason +
         ". Put videoconvertscale ! videorate before flowcachefilter.";
}

bool fits(const GstCaps* ours, const GstCaps* input) {
  GstCaps* plain = in_system_memory(input);
  const bool fit = gst_caps_can_intersect(ours, plain) != FALSE;
  gst_caps_unref(plain);
  return fit;
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
  GstCaps* plain = nullptr;
  if (model.width > 0) {
    plain = own_caps(model);
  } else {
    GstCaps* all = gst_pad_get_pad_template_caps(call.element->sink);
    plain = only_memory(all, MemoryKind::System);
    gst_caps_unref(all);
  }
  // What goes out has the format of what comes in, in any memory.
  GstCaps* offer = in_all_memories(gst_caps_copy(plain));
  GstCaps* theirs = gst_pad_peer_query_caps(call.element->src, offer);
  GstCaps* wanted = in_system_memory(theirs);
  GstCaps* common = in_all_memories(gst_caps_intersect_full(wanted, plain, GST_CAPS_INTERSECT_FIRST));
  for (GstCaps* one : {offer, theirs, wanted, plain}) gst_caps_unref(one);
  if (filter == nullptr) return common;
  GstCaps* filtered = gst_caps_intersect_full(filter, common, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(common);
  return filtered;
}

void explain_refusal(Call& call, const GstCaps* input) {
  const fc_model_info model = call.model();
  if (model.width == 0 || input == nullptr || gst_caps_is_any(input) || gst_caps_is_empty(input)) return;
  GstCaps* ours = own_caps(model);
  if (!fits(ours, input) && !call.filter.mismatch_told.exchange(true))
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
  const bool accepted = fits(ours, caps) && gst_video_info_from_caps(&info, caps);
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
  filter.memory = memory_kind_of(caps);
  append(call, {EventItem{event}});
  if (!same_size) start_worker(call);
  return true;
}

bool use_caps(Call& call, const GstCaps* caps) {
  FilterState& filter = call.filter;
  SourceState& state = call.state;
  GstPad* pad = call.element->src;
  gst_pad_check_reconfigure(pad);  // what it asks for is done here
  GstCaps* plain = in_system_memory(caps);
  GstCaps* choice = choose_memory(call.gst(), pad, in_all_memories(gst_caps_copy(plain)));
  // If downstream takes none of them, it refuses the event.
  GstCaps* chosen = gst_caps_is_empty(choice) ? gst_caps_ref(plain) : gst_caps_fixate(gst_caps_ref(choice));
  gst_caps_unref(choice);
  forget_caps(filter);
  filter.out_caps = plain;
  state.memory = memory_kind_of(chosen);
  bool used = gst_video_info_from_caps(&state.info, chosen) &&
              (gst_pad_push_event(pad, gst_event_new_caps(chosen)) || GST_PAD_IS_FLUSHING(pad));
  auto size = static_cast<guint>(state.info.size);
  if (used) filter.pool = pool_in(state, state.memory, nullptr, chosen, &size, 0, 0, false);
  used = used && filter.pool != nullptr && gst_buffer_pool_set_active(filter.pool, TRUE);
  gst_caps_unref(chosen);
  return used;
}

void forget_caps(FilterState& filter) {
  gst_clear_caps(&filter.out_caps);
  if (filter.pool != nullptr) gst_buffer_pool_set_active(filter.pool, FALSE);
  gst_clear_object(&filter.pool);
}

}  // namespace flowcache::gst::filtering
