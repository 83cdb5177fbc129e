// SPDX-License-Identifier: LGPL-2.1-or-later
// Values are copied under a short lock; the worker reads them before its next
// chunk.
#include <cmath>

#include "control.h"
#include "log.h"
#include "messages.h"
#include "property_ids.h"
#include "source_state.h"

namespace flowcache::gst {
namespace {

std::string text_of(const GValue* value) {
  const char* text = g_value_get_string(value);
  return text == nullptr ? "" : text;
}

/// NaN, and what lies between -1 and 0, are inside the range that GObject can check.
bool set_number(GObject* object, GParamSpec* spec, const GValue* value, double* number) {
  const double given = g_value_get_double(value);
  if (given == kModelDefault || given >= 0) {
    *number = given;
    return true;
  }
  GST_WARNING_OBJECT(object, "%s=%g ignored: -1 (the default) or 0 and above", spec->name, given);
  return false;
}

void set_prompt(GObject* object, const std::string& prompt) {
  GstFlowCacheSrc* source = FLOWCACHE_SRC(object);
  guint blend_chunks = 0;
  {
    std::lock_guard lock(source->state->mutex);
    blend_chunks = source->state->settings.blend_chunks;
  }
  change_prompt(source, prompt, blend_chunks, GST_CLOCK_TIME_NONE);
}

void set_tunable(GObject* object, GParamSpec* spec, const GValue* value, double Settings::*member) {
  SourceState& state = *FLOWCACHE_SRC(object)->state;
  double number = 0;
  if (!set_number(object, spec, value, &number)) return;
  std::shared_ptr<FrameWorker> worker;
  double threshold = FC_AUTO, guidance = FC_AUTO;
  {
    std::lock_guard lock(state.mutex);
    if (state.settings.*member == number) return;
    state.settings.*member = number;
    worker = state.worker;
    if (member == &Settings::cache_threshold) {
      threshold = engine_threshold(number);
    } else {
      guidance = engine_guidance(number);
    }
  }
  if (worker) worker->tune(threshold, guidance);
}

/// The base class would follow at once, in the middle of a stream.
void set_live(GstFlowCacheSrc* source, gboolean live) {
  {
    std::lock_guard lock(source->state->mutex);
    source->state->settings.live = live;
  }
  if (GST_STATE(source) <= GST_STATE_READY) gst_base_src_set_live(GST_BASE_SRC(source), live);
}

/// While nothing runs caps are those of the new model from now on. One that cannot be described is an error
/// when the stream starts.
void set_model(GstFlowCacheSrc* source, const std::string& model) {
  SourceState& state = *source->state;
  const EngineLibrary* library = nullptr;
  {
    std::lock_guard lock(state.mutex);
    state.settings.model = model;
    if (!state.worker) library = state.library;
  }
  if (library == nullptr) return;
  fc_model_info info{};
  info.size = sizeof info;
  const fc_status status = library->model_describe(model.empty() ? nullptr : model.c_str(), &info);
  std::lock_guard lock(state.mutex);
  if (!state.worker) state.model = status == FC_OK && is_complete(info) ? info : fc_model_info{};
}

}  // namespace

void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  SourceState& state = *FLOWCACHE_SRC(object)->state;
  switch (id) {
    case PROP_PROMPT:
      return set_prompt(object, text_of(value));
    case PROP_NEGATIVE_PROMPT:
      return change_negative_prompt(FLOWCACHE_SRC(object), text_of(value));
    case PROP_QOS:
      return set_qos(FLOWCACHE_SRC(object), g_value_get_boolean(value));
    case PROP_CACHE_THRESHOLD:
      return set_tunable(object, spec, value, &Settings::cache_threshold);
    case PROP_GUIDANCE_SCALE:
      return set_tunable(object, spec, value, &Settings::guidance_scale);
    case PROP_MODEL:
      return set_model(FLOWCACHE_SRC(object), text_of(value));
    case PROP_DO_TIMESTAMP:
      if (g_value_get_boolean(value)) {
        GST_WARNING_OBJECT(object, "do-timestamp ignored: timestamps are those of the frames' own grid");
      }
      return;
    case PROP_IS_LIVE:
      return set_live(FLOWCACHE_SRC(object), g_value_get_boolean(value));
    default:
      break;
  }
  bool latency_changed = false;
  {
    std::lock_guard lock(state.mutex);
    Settings& s = state.settings;
    switch (id) {
      case PROP_SCRIPT_LOCATION:
        s.script_location = text_of(value);
        break;
      case PROP_KEY_PROMPTS:
        s.key_prompts = text_of(value);
        break;
      case PROP_END_WITH_SCRIPT:
        s.end_with_script = g_value_get_boolean(value);
        break;
      case PROP_TIMESTAMP_OFFSET:
        s.timestamp_offset = g_value_get_int64(value);
        break;
      case PROP_PREFIX_LOCATION:
        s.prefix_location = text_of(value);
        break;
      case PROP_SEED:
        s.seed = g_value_get_uint64(value);
        break;
      case PROP_CACHE:
        s.cache = text_of(value);
        break;
      case PROP_KV_CACHE:
        s.kv_cache = text_of(value);
        break;
      case PROP_KV_BUDGET:
        s.kv_budget = g_value_get_uint64(value);
        break;
      case PROP_STEPS:
        s.steps = g_value_get_uint(value);
        break;
      case PROP_LAG:
        s.lag = g_value_get_uint(value);
        break;
      case PROP_CLEAN_CONTEXT:
        s.clean_context = static_cast<CleanContext>(g_value_get_enum(value));
        break;
      case PROP_DEVICE:
        s.device = text_of(value) == "auto" ? "" : text_of(value);
        break;
      case PROP_THREADS:
        s.threads = g_value_get_uint(value);
        break;
      case PROP_LATENCY:
        latency_changed = s.latency != g_value_get_uint64(value);
        s.latency = g_value_get_uint64(value);
        break;
      case PROP_PLACEHOLDER:
        s.placeholder = g_value_get_boolean(value);
        break;
      case PROP_MAX_LATENESS:
        s.max_lateness = g_value_get_int64(value);
        break;
      case PROP_UNDERRUN:
        s.underrun = static_cast<Underrun>(g_value_get_enum(value));
        break;
      case PROP_MAX_CHUNKS_AHEAD:
        s.chunks_ahead = g_value_get_uint(value);
        break;
      case PROP_STATS_INTERVAL:
        s.stats_interval = g_value_get_uint64(value);
        break;
      case PROP_BLEND_CHUNKS:
        s.blend_chunks = g_value_get_uint(value);
        break;
      case PROP_REPORT_CHUNKS:
        s.report_chunks = g_value_get_boolean(value);
        break;
      case PROP_SEI:
        s.sei = g_value_get_boolean(value);
        break;
      default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
        break;
    }
  }
  if (latency_changed)
    gst_element_post_message(GST_ELEMENT(object), gst_message_new_latency(GST_OBJECT(object)));
}

void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  SourceState& state = *FLOWCACHE_SRC(object)->state;
  if (id == PROP_STATS) return g_value_take_boxed(value, make_stats(state));
  const auto set_text = [&](const std::string& text) {
    g_value_set_string(value, text.empty() ? nullptr : text.c_str());
  };
  std::lock_guard lock(state.mutex);
  const Settings& s = state.settings;
  switch (id) {
    case PROP_MODEL:
      set_text(s.model);
      break;
    case PROP_PROMPT:
      g_value_set_string(value, s.prompt.c_str());
      break;
    case PROP_NEGATIVE_PROMPT:
      set_text(s.negative_prompt);
      break;
    case PROP_SCRIPT_LOCATION:
      set_text(s.script_location);
      break;
    case PROP_KEY_PROMPTS:
      set_text(s.key_prompts);
      break;
    case PROP_END_WITH_SCRIPT:
      g_value_set_boolean(value, s.end_with_script);
      break;
    case PROP_TIMESTAMP_OFFSET:
      g_value_set_int64(value, s.timestamp_offset);
      break;
    case PROP_PREFIX_LOCATION:
      set_text(s.prefix_location);
      break;
    case PROP_SEED:
      g_value_set_uint64(value, s.seed);
      break;
    case PROP_CACHE:
      set_text(s.cache);
      break;
    case PROP_CACHE_THRESHOLD:
      g_value_set_double(value, s.cache_threshold);
      break;
    case PROP_KV_CACHE:
      set_text(s.kv_cache);
      break;
    case PROP_KV_BUDGET:
      g_value_set_uint64(value, s.kv_budget);
      break;
    case PROP_STEPS:
      g_value_set_uint(value, s.steps);
      break;
    case PROP_LAG:
      g_value_set_uint(value, s.lag);
      break;
    case PROP_CLEAN_CONTEXT:
      g_value_set_enum(value, static_cast<int>(s.clean_context));
      break;
    case PROP_GUIDANCE_SCALE:
      g_value_set_double(value, s.guidance_scale);
      break;
    case PROP_DEVICE:
      g_value_set_string(value, s.device.empty() ? "auto" : s.device.c_str());
      break;
    case PROP_THREADS:
      g_value_set_uint(value, s.threads);
      break;
    case PROP_LATENCY:
      g_value_set_uint64(value, s.latency);
      break;
    case PROP_IS_LIVE:
      g_value_set_boolean(value, s.live);
      break;
    case PROP_PLACEHOLDER:
      g_value_set_boolean(value, s.placeholder);
      break;
    case PROP_MAX_LATENESS:
      g_value_set_int64(value, s.max_lateness);
      break;
    case PROP_DO_TIMESTAMP:
      g_value_set_boolean(value, FALSE);
      break;
    case PROP_UNDERRUN:
      g_value_set_enum(value, static_cast<int>(s.underrun));
      break;
    case PROP_MAX_CHUNKS_AHEAD:
      g_value_set_uint(value, s.chunks_ahead);
      break;
    case PROP_STATS_INTERVAL:
      g_value_set_uint64(value, s.stats_interval);
      break;
    case PROP_BLEND_CHUNKS:
      g_value_set_uint(value, s.blend_chunks);
      break;
    case PROP_REPORT_CHUNKS:
      g_value_set_boolean(value, s.report_chunks);
      break;
    case PROP_QOS:
      g_value_set_boolean(value, s.qos);
      break;
    case PROP_SEI:
      g_value_set_boolean(value, s.sei);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
      break;
  }
}

}  // namespace flowcache::gst
