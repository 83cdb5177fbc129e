// SPDX-License-Identifier: LGPL-2.1-or-later
// Caps come from the model's description, so they are known before its weights are loaded, and a live source
// can negotiate in PAUSED. The frame rate is the model's own or, if downstream asks for it, a whole multiple
// of it; then each frame is pushed several times. The size is the one that downstream asks for, among those
// that the model draws, else the native one. It holds until READY, because the worker begins with it.
// Conversion is left to other elements.
#include <string>
#include <vector>

#include "engine.h"
#include "flowcachesrc.h"

namespace flowcache::gst {
namespace {

// The formats that the engine writes, best first for the elements that usually follow: encoders take NV12 as
// it is.
struct OutputFormat {
  const char* format;
  const char* colorimetry;
  const char* chroma_site;  // nullptr: none
};
constexpr OutputFormat kFormats[] = {
    {"NV12", "bt709", "mpeg2"}, {"RGBA", "sRGB", nullptr}, {"I420", "bt709", "mpeg2"}};

GstStaticPadTemplate kTemplate = GST_STATIC_PAD_TEMPLATE(
    "src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE(
        "{ NV12, RGBA, I420 }") ", interlace-mode = progressive"
#ifdef FLOWCACHE_CUDA
                                "; " GST_VIDEO_CAPS_MAKE_WITH_FEATURES(
                                    "memory:CUDAMemory",
                                    "{ NV12, RGBA, I420 }") ", interlace-mode = progressive"
#endif
#ifdef FLOWCACHE_GL
                                                            "; " GST_VIDEO_CAPS_MAKE_WITH_FEATURES(
                                                                "memory:GLMemory",
                                                                "RGBA") ", interlace-mode = progressive, "
                                                                        "texture-target = 2D"
#endif
                    ));

// Takes the pool and makes it the first one of the query. Returns false if `pool` is null.
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

// Sets a number if only one is possible, else a range.
void set_side(GstStructure* s, const char* field, uint32_t native, uint32_t least, uint32_t most,
              uint32_t step) {
  if (least >= most || step == 0) {
    gst_structure_set(s, field, G_TYPE_INT, static_cast<int>(native), nullptr);
    return;
  }
  GValue range = G_VALUE_INIT;
  g_value_init(&range, GST_TYPE_INT_RANGE);
  gst_value_set_int_range_step(&range, static_cast<int>(least), static_cast<int>(most),
                               static_cast<int>(step));
  gst_structure_take_value(s, field, &range);
}

constexpr int kMostFps = 120;

// Sets the model's rate and its multiples up to kMostFps.
void set_rates(GstStructure* s, const fc_model_info& model) {
  GValue rates = G_VALUE_INIT, rate = G_VALUE_INIT;
  gst_value_list_init(&rates, 0);
  g_value_init(&rate, GST_TYPE_FRACTION);
  const int n = static_cast<int>(model.fps_n), d = static_cast<int>(model.fps_d);
  for (int times = 1; times == 1 || gint64{n} * times <= gint64{kMostFps} * d; ++times) {
    gst_value_set_fraction(&rate, n * times, d);
    gst_value_list_append_value(&rates, &rate);
  }
  gst_structure_take_value(s, "framerate", &rates);
  g_value_unset(&rate);
}

// How many times each frame is pushed at the rate of these caps.
guint times_of(const GstVideoInfo& info, const fc_model_info& model) {
  const guint64 times =
      gst_util_uint64_scale(static_cast<guint64>(GST_VIDEO_INFO_FPS_N(&info)), model.fps_d,
                            static_cast<guint64>(GST_VIDEO_INFO_FPS_D(&info)) * model.fps_n);
  return static_cast<guint>(MAX(times, 1));
}

std::string in_words(const GValue* value) {
  if (GST_VALUE_HOLDS_INT_RANGE(value) && gst_value_get_int_range_step(value) > 1) {
    return std::to_string(gst_value_get_int_range_min(value)) + " to " +
           std::to_string(gst_value_get_int_range_max(value)) + " in steps of " +
           std::to_string(gst_value_get_int_range_step(value));
  }
  if (GST_VALUE_HOLDS_LIST(value) && gst_value_list_get_size(value) > 2) {  // of rates
    const guint last = gst_value_list_get_size(value) - 1;
    return in_words(gst_value_list_get_value(value, 0)) + " or a whole multiple, up to " +
           in_words(gst_value_list_get_value(value, last));
  }
  g_autofree char* text = gst_value_serialize(value);
  return text == nullptr ? "?" : text;
}

// For a number outside of a range with steps: the value of the range that is nearest to it; else nothing.
std::string nearest(const GValue* range, const GValue* number) {
  if (!GST_VALUE_HOLDS_INT_RANGE(range) || !G_VALUE_HOLDS_INT(number)) return "";
  const int least = gst_value_get_int_range_min(range), most = gst_value_get_int_range_max(range);
  const int step = gst_value_get_int_range_step(range);
  const int below = CLAMP(g_value_get_int(number) / step * step, least, most);
  const int above = MIN(below + step, most);
  const bool between = g_value_get_int(number) > below && above > below;
  return " (nearest: " + std::to_string(below) + (between ? " and " + std::to_string(above) : "") + ")";
}

// The fields of `ours` whose values have nothing in common with `theirs`, as "width: the model gives 320,
// …".
std::vector<std::string> disagreements(const GstStructure* ours, const GstStructure* theirs,
                                       const SideWords& words) {
  std::vector<std::string> found;
  for (gint i = 0; i < gst_structure_n_fields(ours); ++i) {
    const char* field = gst_structure_nth_field_name(ours, i);
    const GValue* wanted = gst_structure_get_value(theirs, field);
    const GValue* given = gst_structure_get_value(ours, field);
    if (wanted == nullptr || gst_value_intersect(nullptr, given, wanted)) continue;
    found.push_back(std::string(field) + ": " + words.ours + " " + in_words(given) + ", " + words.theirs +
                    " " + in_words(wanted) + nearest(given, wanted));
  }
  return found;
}

}  // namespace

std::string explain_mismatch(const GstCaps* ours, const GstCaps* theirs, const SideWords& words) {
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
      auto fields = disagreements(gst_caps_get_structure(ours, i), wanted, words);
      if (!fields.empty() && (best.empty() || fields.size() < best.size())) best = std::move(fields);
    }
  }
  if (best.empty()) {
    return std::string("media type: ") + words.ours + " video/x-raw in system memory, " + words.theirs + " " +
           (media.empty() ? "something else" : media);
  }
  std::string text;
  for (const std::string& field : best) text += (text.empty() ? "" : "; ") + field;
  return text;
}

namespace {

void post_negotiation_error(GstBaseSrc* base) {
  GstPad* pad = GST_BASE_SRC_PAD(base);
  GstCaps* ours = gst_pad_query_caps(pad, nullptr);
  GstCaps* theirs = gst_pad_peer_query_caps(pad, nullptr);
  const std::string reason = explain_mismatch(ours, theirs);
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
    GstStructure* s =
        gst_structure_new("video/x-raw", "format", G_TYPE_STRING, output.format, "pixel-aspect-ratio",
                          GST_TYPE_FRACTION, 1, 1, "interlace-mode", G_TYPE_STRING, "progressive",
                          "colorimetry", G_TYPE_STRING, output.colorimetry, nullptr);
    set_rates(s, model);
    set_side(s, "width", model.width, model.least.width, model.most.width, model.step.width);
    set_side(s, "height", model.height, model.least.height, model.most.height, model.step.height);
    if (output.chroma_site != nullptr) {
      gst_structure_set(s, "chroma-site", G_TYPE_STRING, output.chroma_site, nullptr);
    }
    gst_caps_append_structure(caps, s);
  }
  return caps;
}

void install_pad_template(GstElementClass* element_class, const char* name, GstPadDirection direction) {
  GstCaps* caps = gst_static_caps_get(&kTemplate.static_caps);
  gst_element_class_add_pad_template(element_class,
                                     gst_pad_template_new(name, direction, GST_PAD_ALWAYS, caps));
  gst_caps_unref(caps);
}

GstCaps* in_all_memories(GstCaps* system) {
  GstCaps* caps = gst_caps_new_empty();
  const guint formats = gst_caps_get_size(system);
  for (guint i = 0; CudaOutput::driver_answers() && i < formats; ++i) {
    gst_caps_append(caps, caps_in_memory(gst_caps_get_structure(system, i), MemoryKind::Cuda));
  }
#ifdef FLOWCACHE_GL
  for (guint i = 0; i < formats; ++i) {
    GstStructure* rgba = gst_structure_copy(gst_caps_get_structure(system, i));
    gst_structure_set(rgba, "format", G_TYPE_STRING, "RGBA", nullptr);
    if (gst_structure_can_intersect(rgba, gst_caps_get_structure(system, i)))
      gst_caps_append(caps, caps_in_memory(rgba, MemoryKind::Gl));
    gst_structure_free(rgba);
  }
#endif
  gst_caps_append(caps, system);
  return caps;
}

GstCaps* choose_memory(GstElement* element, GstPad* pad, GstCaps* ours) {
  SourceState& state = state_of(element);
  GstCaps* wanted = gst_pad_peer_query_caps(pad, nullptr);
  GstCaps* offer = gst_caps_new_empty();
  if (names_memory(wanted, MemoryKind::Cuda) && state.cuda.prepare(element)) {
    gst_caps_append(offer, only_memory(ours, MemoryKind::Cuda));
  }
  if (names_memory(wanted, MemoryKind::Gl) && state.gl.prepare(element)) {
    gst_caps_append(offer, only_memory(ours, MemoryKind::Gl));
  }
  gst_caps_append(offer, only_memory(ours, MemoryKind::System));
  gst_caps_unref(wanted);
  gst_caps_unref(ours);
  GstCaps* common = gst_pad_peer_query_caps(pad, offer);
  // Downstream may answer in an order of its own. The order of our offer counts.
  GstCaps* ordered = gst_caps_intersect_full(offer, common, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(offer);
  gst_caps_unref(common);
  return ordered;
}

namespace {

// The caps of the pad's template. If no driver answers, those that need one are left out.
GstCaps* template_caps(GstBaseSrc* base) {
  GstCaps* all = gst_pad_get_pad_template_caps(GST_BASE_SRC_PAD(base));
  if (CudaOutput::driver_answers()) return all;
  GstCaps* caps = only_memory(all, MemoryKind::Gl);
  gst_caps_append(caps, only_memory(all, MemoryKind::System));
  gst_caps_unref(all);
  return caps;
}

}  // namespace

GstCaps* get_caps(GstBaseSrc* base, GstCaps* filter) {
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  fc_model_info model{};
  {
    std::lock_guard lock(state.mutex);
    model = state.model;
  }
  GstCaps* caps = model.width > 0 ? in_all_memories(caps_of(model)) : template_caps(base);
  if (filter == nullptr) return caps;
  GstCaps* filtered = gst_caps_intersect_full(filter, caps, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(caps);
  return filtered;
}

// Takes the first format, which is the best that both sides know. Of several sizes and rates it takes the
// native one or the nearest to it. If downstream fixes one side of the picture, the other keeps the native
// shape.
GstCaps* fixate(GstBaseSrc* base, GstCaps* caps) {
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  int width = 0, height = 0, fps_n = 0, fps_d = 1;
  {
    std::lock_guard lock(state.mutex);
    width = static_cast<int>(state.model.width);
    height = static_cast<int>(state.model.height);
    fps_n = static_cast<int>(state.model.fps_n);
    fps_d = static_cast<int>(state.model.fps_d);
  }
  caps = gst_caps_make_writable(gst_caps_truncate(caps));
  GstStructure* s = gst_caps_get_structure(caps, 0);
  if (fps_n > 0) gst_structure_fixate_field_nearest_fraction(s, "framerate", fps_n, fps_d);
  int given = 0;
  if (width > 0 && gst_structure_get_int(s, "height", &given)) {
    gst_structure_fixate_field_nearest_int(s, "width", gst_util_uint64_scale_int(width, given, height));
  } else if (width > 0) {
    gst_structure_fixate_field_nearest_int(s, "width", width);
    if (gst_structure_get_int(s, "width", &given))
      gst_structure_fixate_field_nearest_int(s, "height", gst_util_uint64_scale_int(height, given, width));
  }
  return parent_class()->fixate(base, caps);
}

namespace {

// The first caps of a run fix the size; then the worker begins.
void begin_with(SourceState& state, uint32_t width, uint32_t height) {
  std::shared_ptr<FrameWorker> worker;
  {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
    state.model.width = width;
    state.model.height = height;
    state.model.least = state.model.most = {width, height};
  }
  if (worker) worker->start(width, height);
}

}  // namespace

gboolean set_caps(GstBaseSrc* base, GstCaps* caps) {
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  if (!gst_video_info_from_caps(&state.info, caps)) {
    GST_ERROR_OBJECT(base, "caps that are no video: %" GST_PTR_FORMAT, caps);
    return FALSE;
  }
  state.memory = memory_kind_of(caps);
  GST_INFO_OBJECT(base, "caps %" GST_PTR_FORMAT, caps);
  {
    std::lock_guard lock(state.mutex);
    state.timeline.set_parts(times_of(state.info, state.model));
    state.progress.parts = state.timeline.parts();
  }
  begin_with(state, static_cast<uint32_t>(GST_VIDEO_INFO_WIDTH(&state.info)),
             static_cast<uint32_t>(GST_VIDEO_INFO_HEIGHT(&state.info)));
  return TRUE;
}

gboolean negotiate(GstBaseSrc* base) {
  GstPad* pad = GST_BASE_SRC_PAD(base);
  GstCaps* ordered = choose_memory(GST_ELEMENT(base), pad, gst_pad_query_caps(pad, nullptr));
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
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  GstCaps* caps = nullptr;
  gst_query_parse_allocation(query, &caps, nullptr);
  GstBufferPool* pool = nullptr;
  guint size = static_cast<guint>(state.info.size), least = 0, most = 0;
  const bool offered = gst_query_get_n_allocation_pools(query) > 0;
  if (offered) gst_query_parse_nth_allocation_pool(query, 0, &pool, &size, &least, &most);
  size = MAX(size, static_cast<guint>(state.info.size));
  const MemoryKind memory = memory_kind_of(caps);
  const bool video_meta = gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr);
  pool = pool_in(state, memory, pool, caps, &size, least, most, video_meta);
  GST_DEBUG_OBJECT(base, "pool %" GST_PTR_FORMAT ", %s", pool, offered ? "downstream offered one" : "own");
  if (!use_pool(query, pool, size, least, most, offered)) return FALSE;
  // For other memory the base class would set an allocator of system memory.
  return memory != MemoryKind::System || parent_class()->decide_allocation(base, query);
}

}  // namespace flowcache::gst
