// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_rate.h"

#include <gst/base/gstbasesrc.h>

#include <algorithm>
#include <functional>

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

// Calls `look` with a flowcachesrc that has read the model's description, and with the caps of its pad. If there
// is none, *error says why.
void with_source(const std::string& model, std::string* error,
                 const std::function<void(GstElement*, GstCaps*)>& look) {
  GstElement* made = gst_element_factory_make("flowcachesrc", nullptr);
  if (made == nullptr) {
    *error = "GStreamer has no element flowcachesrc: GST_PLUGIN_PATH has to name the folder of its plugin";
    return;
  }
  const GstPtr<GstElement> source(GST_ELEMENT(gst_object_ref_sink(made)));
  const GstPtr<GstBus> bus(gst_bus_new());
  gst_element_set_bus(made, bus.get());
  if (!model.empty()) g_object_set(made, "model", model.c_str(), nullptr);
  if (gst_element_set_state(made, GST_STATE_READY) == GST_STATE_CHANGE_FAILURE) {
    *error = error_on(bus.get());
  } else {
    const GstPtr<GstPad> pad(gst_element_get_static_pad(made, "src"));
    const CapsPtr caps(gst_pad_query_caps(pad.get(), nullptr));
    look(made, caps.get());
  }
  gst_element_set_state(made, GST_STATE_NULL);
  gst_element_set_bus(made, nullptr);
}

}  // namespace

unsigned FrameRate::frames_in(unsigned seconds) const {
  const guint64 frames =
      gst_util_uint64_scale_round(seconds, static_cast<guint64>(n), static_cast<guint64>(d));
  return static_cast<unsigned>(std::max<guint64>(frames, 1));
}

std::optional<FrameRate> frame_rate_of_model(const std::string& model, std::string* error) {
  std::optional<FrameRate> rate;
  with_source(model, error, [&](GstElement*, GstCaps* caps) {
    rate = rate_in(caps);
    if (!rate) *error = "flowcachesrc does not tell the model's frame rate";
  });
  return rate;
}

GstCaps* picture_of_model(const std::string& model, unsigned width, unsigned height, std::string* error) {
  GstCaps* picture = nullptr;
  with_source(model, error, [&](GstElement* source, GstCaps* caps) {
    const CapsPtr wanted(gst_caps_from_string("video/x-raw,format=I420"));
    if (width > 0)
      gst_caps_set_simple(wanted.get(), "width", G_TYPE_INT, static_cast<int>(width), "height", G_TYPE_INT,
                          static_cast<int>(height), nullptr);
    CapsPtr common(gst_caps_intersect_full(caps, wanted.get(), GST_CAPS_INTERSECT_FIRST));
    if (gst_caps_is_empty(common.get())) {
      *error = "the model gives no picture of " + std::to_string(width) + "x" + std::to_string(height) +
               "; `flowcache inspect` lists its sizes";
      return;
    }
    GstBaseSrc* base = GST_BASE_SRC(source);
    picture = GST_BASE_SRC_GET_CLASS(base)->fixate(base, common.release());
  });
  return picture;
}

}  // namespace flowcache
