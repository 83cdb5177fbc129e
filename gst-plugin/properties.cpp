// SPDX-License-Identifier: LGPL-2.1-or-later
// The table of properties for GObject. Values are stored under a lock; the worker reads them before its next
// chunk.
#include "properties.h"

#include "engine.h"
#include "flowcachesrc.h"
#include "messages.h"
#include "prompts.h"

namespace flowcache::gst {
namespace {

const Property* property_of(guint id) {
  return id >= 1 && id <= properties().size() ? &properties()[id - 1] : nullptr;
}

// The number of the base class's property do-timestamp, which follows those of the table.
guint do_timestamp() {
  return static_cast<guint>(properties().size()) + 1;
}

std::string text_of(const GValue* value) {
  const char* text = g_value_get_string(value);
  return text == nullptr ? "" : text;
}

// The value is the one that was asked for last, also if the engine refuses it.
void change_lora(GstElement* source, std::string list) {
  std::shared_ptr<FrameWorker> worker;
  {
    std::lock_guard lock(state_of(source).mutex);
    state_of(source).settings.lora = list;
    worker = state_of(source).worker;
  }
  if (worker) worker->change_lora(std::move(list));
}

void set_prompt(GstElement* source, const std::string& prompt) {
  guint blend_chunks = 0;
  {
    std::lock_guard lock(state_of(source).mutex);
    blend_chunks = state_of(source).settings.transition_chunks();
  }
  change_prompt(source, prompt, blend_chunks, GST_CLOCK_TIME_NONE);
}

// Also refuses NaN and numbers between -1 and 0, which are inside the range that GObject can check.
void tune(GstElement* source, const Property& property, const GValue* value) {
  SourceState& state = state_of(source);
  const double given = g_value_get_double(value);
  if (given != kModelDefault && !(given >= 0)) {
    GST_WARNING_OBJECT(source, "%s=%g ignored: -1 (the default) or 0 and above", property.name, given);
    return;
  }
  std::shared_ptr<FrameWorker> worker;
  fc_stream_config asked = fc_stream_config_init();
  asked.cache_threshold = asked.guidance_scale = FC_AUTO;
  {
    std::lock_guard lock(state.mutex);
    GValue before = G_VALUE_INIT;
    g_value_init(&before, G_TYPE_DOUBLE);
    property.read(state.settings, &before);
    if (g_value_get_double(&before) == given) return;
    property.write(state.settings, value);
    property.to_stream(state.settings, &asked);
    worker = state.worker;
  }
  if (worker) worker->tune(asked.cache_threshold, asked.guidance_scale);
}

// While nothing runs, the caps are those of the new model at once. A model that cannot be described is an
// error when the stream starts.
void describe_model(GstElement* source) {
  SourceState& state = state_of(source);
  const EngineLibrary* library = nullptr;
  std::string model;
  {
    std::lock_guard lock(state.mutex);
    model = state.settings.model;
    if (!state.worker) library = state.library;
  }
  if (library == nullptr) return;
  fc_model_info info = fc_model_info_init();
  const fc_status status = library->model_describe(model.empty() ? nullptr : model.c_str(), &info);
  std::lock_guard lock(state.mutex);
  if (!state.worker) state.model = status == FC_OK && is_complete(info) ? info : fc_model_info{};
}

// The base class would apply is-live at once, in the middle of a stream. So while a stream runs, the value
// is only stored, and the next stream uses it.
void follow_live(GstElement* source, gboolean live) {
  if (GST_STATE(source) <= GST_STATE_READY) gst_base_src_set_live(GST_BASE_SRC(source), live);
}

}  // namespace

void install_properties(GObjectClass* object_class, Elements element) {
  guint id = 0;
  for (const Property& property : properties()) {
    ++id;
    if (property.elements != Elements::Both && property.elements != element) continue;
    GParamSpec* spec = property.spec(property);
    if (G_IS_PARAM_SPEC_ENUM(spec))
      gst_type_mark_as_plugin_api(spec->value_type, static_cast<GstPluginAPIFlags>(0));
    g_object_class_install_property(object_class, id, spec);
  }
  if (element == Elements::Source)
    g_object_class_override_property(object_class, do_timestamp(), "do-timestamp");
}

void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  GstElement* source = GST_ELEMENT(object);
  if (id == do_timestamp()) {
    if (g_value_get_boolean(value))
      GST_WARNING_OBJECT(object, "do-timestamp ignored: timestamps are those of the frames' own grid");
    return;
  }
  const Property* property = property_of(id);
  if (property == nullptr || property->write == nullptr) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    return;
  }
  switch (property->handling) {
    case Handling::Prompt:
      return set_prompt(source, text_of(value));
    case Handling::NegativePrompt:
      return change_negative_prompt(source, text_of(value));
    case Handling::Lora:
      return change_lora(source, text_of(value));
    case Handling::Qos:
      return set_qos(source, g_value_get_boolean(value));
    case Handling::Strength:
      if (const double given = g_value_get_double(value); !(given >= 0 && given <= 1)) {
        GST_WARNING_OBJECT(object, "strength=%g ignored: 0 (shows the input) to 1 (ignores it)", given);
        return;
      }
      break;
    case Handling::Tune:
      return tune(source, *property, value);
    default:
      break;
  }
  bool latency_changed = false;
  {
    std::lock_guard lock(state_of(source).mutex);
    Settings& settings = state_of(source).settings;
    const GstClockTime before = settings.latency;
    property->write(settings, value);
    latency_changed = settings.latency != before;
  }
  if (property->handling == Handling::Model) describe_model(source);
  if (property->handling == Handling::Live) follow_live(source, g_value_get_boolean(value));
  if (latency_changed)
    gst_element_post_message(GST_ELEMENT(object), gst_message_new_latency(GST_OBJECT(object)));
}

void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  SourceState& state = state_of(GST_ELEMENT(object));
  if (id == do_timestamp()) return g_value_set_boolean(value, FALSE);
  const Property* property = property_of(id);
  if (property == nullptr) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    return;
  }
  if (property->handling == Handling::Statistics) return g_value_take_boxed(value, make_stats(state));
  std::lock_guard lock(state.mutex);
  property->read(state.settings, value);
}

}  // namespace flowcache::gst
