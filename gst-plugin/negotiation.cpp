// SPDX-License-Identifier: LGPL-2.1-or-later
// Caps come from the model's description, so they are known before its weights are loaded: a live source
// negotiates in PAUSED. Size and rate are the model's own; scaling and converting are other elements' work.
#include "log.h"
#include "source_state.h"

namespace flowcache::gst {
namespace {

/// What the engine writes, best first for what follows: encoders take NV12 as it is.
struct OutputFormat {
  const char* format;
  const char* colorimetry;
  const char* chroma_site;  ///< nullptr: none
};
constexpr OutputFormat kFormats[] = {
    {"NV12", "bt709", "mpeg2"}, {"RGBA", "sRGB", nullptr}, {"I420", "bt709", "mpeg2"}};

GstStaticPadTemplate kTemplate = GST_STATIC_PAD_TEMPLATE(
    "src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE("{ NV12, RGBA, I420 }") ", interlace-mode = progressive"));

std::string text_of(const GValue* value) {
  g_autofree char* text = gst_value_serialize(value);
  return text == nullptr ? "?" : text;
}

/// The fields of `ours` that `theirs` has too and cannot agree on, as "width: the model gives 320, …".
std::vector<std::string> disagreements(const GstStructure* ours, const GstStructure* theirs) {
  std::vector<std::string> found;
  for (gint i = 0; i < gst_structure_n_fields(ours); ++i) {
    const char* field = gst_structure_nth_field_name(ours, i);
    const GValue* wanted = gst_structure_get_value(theirs, field);
    const GValue* given = gst_structure_get_value(ours, field);
    if (wanted == nullptr || gst_value_intersect(nullptr, given, wanted)) continue;
    found.push_back(std::string(field) + ": the model gives " + text_of(given) + ", downstream accepts " +
                    text_of(wanted));
  }
  return found;
}

/// Which fields stand in the way, from the pair of structures that comes closest.
std::string explain(GstCaps* ours, GstCaps* theirs) {
  if (gst_caps_is_empty(theirs)) return "downstream accepts nothing at all";
  std::vector<std::string> best;
  std::string media;
  for (guint j = 0; j < gst_caps_get_size(theirs); ++j) {
    const GstStructure* wanted = gst_caps_get_structure(theirs, j);
    if (!gst_caps_features_is_equal(gst_caps_get_features(theirs, j),
                                    GST_CAPS_FEATURES_MEMORY_SYSTEM_MEMORY) ||
        !gst_structure_has_name(wanted, "video/x-raw")) {
      g_autofree char* features = gst_caps_features_to_string(gst_caps_get_features(theirs, j));
      media = std::string(gst_structure_get_name(wanted)) + "(" + features + ")";
      continue;
    }
    for (guint i = 0; i < gst_caps_get_size(ours); ++i) {
      auto fields = disagreements(gst_caps_get_structure(ours, i), wanted);
      if (!fields.empty() && (best.empty() || fields.size() < best.size())) best = std::move(fields);
    }
  }
  if (best.empty()) {
    return "media type: the model gives video/x-raw in system memory, downstream accepts " +
           (media.empty() ? "something else" : media);
  }
  std::string text;
  for (const std::string& field : best) text += (text.empty() ? "" : "; ") + field;
  return text;
}

void post_negotiation_error(GstBaseSrc* base) {
  GstPad* pad = GST_BASE_SRC_PAD(base);
  GstCaps* ours = gst_pad_query_caps(pad, nullptr);
  GstCaps* theirs = gst_pad_peer_query_caps(pad, nullptr);
  const std::string reason = explain(ours, theirs);
  GST_ELEMENT_ERROR(
      base, CORE, NEGOTIATION,
      ("Downstream accepts no format that the model gives. %s. Put videoconvert, videoscale or videorate "
       "behind flowcachesrc, or ask for what it gives.",
       reason.c_str()),
      ("ours: %" GST_PTR_FORMAT ", downstream: %" GST_PTR_FORMAT, ours, theirs));
  gst_caps_unref(ours);
  gst_caps_unref(theirs);
}

}  // namespace

GstCaps* caps_of(const fc_model_info& model) {
  GstCaps* caps = gst_caps_new_empty();
  for (const OutputFormat& output : kFormats) {
    GstStructure* s = gst_structure_new(
        "video/x-raw", "format", G_TYPE_STRING, output.format, "width", G_TYPE_INT,
        static_cast<int>(model.width), "height", G_TYPE_INT, static_cast<int>(model.height), "framerate",
        GST_TYPE_FRACTION, static_cast<int>(model.fps_n), static_cast<int>(model.fps_d), "pixel-aspect-ratio",
        GST_TYPE_FRACTION, 1, 1, "interlace-mode", G_TYPE_STRING, "progressive", "colorimetry", G_TYPE_STRING,
        output.colorimetry, nullptr);
    if (output.chroma_site != nullptr) {
      gst_structure_set(s, "chroma-site", G_TYPE_STRING, output.chroma_site, nullptr);
    }
    gst_caps_append_structure(caps, s);
  }
  return caps;
}

void install_pad_template(GstElementClass* element_class) {
  gst_element_class_add_static_pad_template(element_class, &kTemplate);
}

GstCaps* get_caps(GstBaseSrc* base, GstCaps* filter) {
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  fc_model_info model{};
  {
    std::lock_guard lock(state.mutex);
    model = state.model;
  }
  GstCaps* caps = model.width > 0 ? caps_of(model) : gst_pad_get_pad_template_caps(GST_BASE_SRC_PAD(base));
  if (filter == nullptr) return caps;
  GstCaps* filtered = gst_caps_intersect_full(filter, caps, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(caps);
  return filtered;
}

GstCaps* fixate(GstBaseSrc* base, GstCaps* caps) {
  // Everything but the choice of format is fixed already; the first one is the best that both sides know.
  return parent_class()->fixate(base, gst_caps_truncate(caps));
}

gboolean set_caps(GstBaseSrc* base, GstCaps* caps) {
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  if (!gst_video_info_from_caps(&state.info, caps)) {
    GST_ERROR_OBJECT(base, "caps that are no video: %" GST_PTR_FORMAT, caps);
    return FALSE;
  }
  GST_INFO_OBJECT(base, "caps %" GST_PTR_FORMAT, caps);
  return TRUE;
}

gboolean negotiate(GstBaseSrc* base) {
  if (parent_class()->negotiate(base)) return TRUE;
  if (!GST_PAD_IS_FLUSHING(GST_BASE_SRC_PAD(base))) post_negotiation_error(base);
  return FALSE;
}

gboolean decide_allocation(GstBaseSrc* base, GstQuery* query) {
  const GstVideoInfo& info = FLOWCACHE_SRC(base)->state->info;
  GstCaps* caps = nullptr;
  gst_query_parse_allocation(query, &caps, nullptr);
  GstBufferPool* pool = nullptr;
  guint size = static_cast<guint>(info.size), least = 0, most = 0;
  const bool offered = gst_query_get_n_allocation_pools(query) > 0;
  if (offered) gst_query_parse_nth_allocation_pool(query, 0, &pool, &size, &least, &most);
  size = MAX(size, static_cast<guint>(info.size));
  if (pool == nullptr) pool = gst_video_buffer_pool_new();

  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, size, least, most);
  if (gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr)) {
    gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  }
  gst_buffer_pool_set_config(pool, config);
  if (offered) {
    gst_query_set_nth_allocation_pool(query, 0, pool, size, least, most);
  } else {
    gst_query_add_allocation_pool(query, pool, size, least, most);
  }
  GST_DEBUG_OBJECT(base, "%s pool %" GST_PTR_FORMAT, offered ? "downstream's" : "own", pool);
  gst_object_unref(pool);
  return parent_class()->decide_allocation(base, query);
}

}  // namespace flowcache::gst
