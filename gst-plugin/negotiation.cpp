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
    GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE(
        "{ NV12, RGBA, I420 }") ", interlace-mode = progressive"
#ifdef FLOWCACHE_GL
                                "; " GST_VIDEO_CAPS_MAKE_WITH_FEATURES(
                                    "memory:GLMemory",
                                    "RGBA") ", interlace-mode = progressive, texture-target = 2D"
#endif
                    ));

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

/// The structures in OpenGL textures, or those in system memory.
GstCaps* only_memory(const GstCaps* caps, bool textures) {
  GstCaps* chosen = gst_caps_new_empty();
  for (guint i = 0; i < gst_caps_get_size(caps); ++i) {
    GstCaps* one = gst_caps_copy_nth(caps, i);
    if (is_gl(one) == textures) {
      gst_caps_append(chosen, one);
    } else {
      gst_caps_unref(one);
    }
  }
  return chosen;
}

/// Makes this pool, which it takes, the first of the query. False without one.
bool use_pool(GstQuery* query, GstBufferPool* pool, guint size, guint least, guint most, bool replace) {
  if (pool == nullptr) return false;
  if (replace) {
    gst_query_set_nth_allocation_pool(query, 0, pool, size, least, most);
  } else {
    gst_query_add_allocation_pool(query, pool, size, least, most);
  }
  gst_object_unref(pool);
  return true;
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

static GstCaps* caps_with_textures(const fc_model_info& model) {
  GstCaps* caps = caps_of(model);
  for (guint i = 0; i < gst_caps_get_size(caps); ++i) {
    const GstStructure* s = gst_caps_get_structure(caps, i);
    if (g_strcmp0(gst_structure_get_string(s, "format"), "RGBA") != 0) continue;
    if (GstCaps* textures = gl_caps_of(s)) gst_caps_append(caps, textures);
    break;
  }
  return caps;
}

GstCaps* get_caps(GstBaseSrc* base, GstCaps* filter) {
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  fc_model_info model{};
  {
    std::lock_guard lock(state.mutex);
    model = state.model;
  }
  GstCaps* caps =
      model.width > 0 ? caps_with_textures(model) : gst_pad_get_pad_template_caps(GST_BASE_SRC_PAD(base));
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
  state.textures = is_gl(caps);
  GST_INFO_OBJECT(base, "caps %" GST_PTR_FORMAT, caps);
  return TRUE;
}

/// Textures if downstream asks for them by name and this machine has OpenGL; else system memory, also if
/// anything goes.
gboolean negotiate(GstBaseSrc* base) {
  GstPad* pad = GST_BASE_SRC_PAD(base);
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  GstCaps* wanted = gst_pad_peer_query_caps(pad, nullptr);
  const bool textures = names_gl(wanted) && state.gl.prepare(GST_ELEMENT(base));
  gst_caps_unref(wanted);

  GstCaps* ours = gst_pad_query_caps(pad, nullptr);
  GstCaps* offer = only_memory(ours, textures);
  if (textures) gst_caps_append(offer, only_memory(ours, false));
  gst_caps_unref(ours);
  GstCaps* common = gst_pad_peer_query_caps(pad, offer);
  // Downstream may answer in its own order; the first of the offer that is in it wins.
  GstCaps* ordered = gst_caps_intersect_full(offer, common, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(offer);
  gst_caps_unref(common);
  if (!gst_caps_is_empty(ordered)) {
    GstCaps* caps = fixate(base, ordered);
    const gboolean accepted = gst_base_src_set_caps(base, caps);
    gst_caps_unref(caps);
    return accepted;
  }
  gst_caps_unref(ordered);
  if (!GST_PAD_IS_FLUSHING(pad)) post_negotiation_error(base);
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
  if (is_gl(caps)) {
    gst_clear_object(&pool);
    return use_pool(query, FLOWCACHE_SRC(base)->state->gl.make_pool(caps, size, least, most), size, least,
                    most, offered);
  }
  if (pool == nullptr) pool = gst_video_buffer_pool_new();

  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, size, least, most);
  if (gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr)) {
    gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  }
  gst_buffer_pool_set_config(pool, config);
  GST_DEBUG_OBJECT(base, "%s pool %" GST_PTR_FORMAT, offered ? "downstream's" : "own", pool);
  use_pool(query, pool, size, least, most, offered);
  return parent_class()->decide_allocation(base, query);
}

}  // namespace flowcache::gst
