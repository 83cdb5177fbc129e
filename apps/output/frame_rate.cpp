// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_rate.h"

#include <algorithm>

#include "handles.h"

namespace flowcache {
namespace {

// Why an element could not change its state, as its bus says.
std::string error_on(GstBus* bus) {
  GstMessage* message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
  if (message == nullptr) return "flowcachesrc cannot be opened";
  GError* error = nullptr;
  gst_message_parse_error(message, &error, nullptr);
  gst_message_unref(message);
  return take_message(error);
}

// The rate in a pad's caps. They list the model's own rate first and its multiples behind it.
std::optional<FrameRate> rate_in(const GstCaps* caps) {
  if (gst_caps_get_size(caps) == 0) return std::nullopt;
  const GValue* rate = gst_structure_get_value(gst_caps_get_structure(caps, 0), "framerate");
  if (rate != nullptr && GST_VALUE_HOLDS_LIST(rate)) rate = gst_value_list_get_value(rate, 0);
  if (rate == nullptr || !GST_VALUE_HOLDS_FRACTION(rate)) return std::nullopt;
  return FrameRate{gst_value_get_fraction_numerator(rate), gst_value_get_fraction_denominator(rate)};
}

}  // namespace

unsigned FrameRate::frames_in(unsigned seconds) const {
  const guint64 frames =
      gst_util_uint64_scale_round(seconds, static_cast<guint64>(n), static_cast<guint64>(d));
  return static_cast<unsigned>(std::max<guint64>(frames, 1));
}

std::optional<FrameRate> frame_rate_of_model(const std::string& model, std::string* error) {
  GstElement* made = gst_element_factory_make("flowcachesrc", nullptr);
  if (made == nullptr) {
    *error = "GStreamer has no element flowcachesrc: GST_PLUGIN_PATH has to name the folder of its plugin";
    return std::nullopt;
  }
  const GstPtr<GstElement> source(GST_ELEMENT(gst_object_ref_sink(made)));
  const GstPtr<GstBus> bus(gst_bus_new());
  gst_element_set_bus(made, bus.get());
  if (!model.empty()) g_object_set(made, "model", model.c_str(), nullptr);
  std::optional<FrameRate> rate;
  if (gst_element_set_state(made, GST_STATE_READY) == GST_STATE_CHANGE_FAILURE) {
    *error = error_on(bus.get());
  } else {
    const GstPtr<GstPad> pad(gst_element_get_static_pad(made, "src"));
    const CapsPtr caps(gst_pad_query_caps(pad.get(), nullptr));
    rate = rate_in(caps.get());
    if (!rate) *error = "flowcachesrc does not tell the model's frame rate";
  }
  gst_element_set_state(made, GST_STATE_NULL);
  gst_element_set_bus(made, nullptr);
  return rate;
}

}  // namespace flowcache
