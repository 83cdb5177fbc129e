// SPDX-License-Identifier: LGPL-2.1-or-later
#include "feed.h"

#include <algorithm>
#include <cmath>

namespace flowcache::live {
namespace {

Json json_of(const GValue* value) {
  switch (G_VALUE_TYPE(value)) {
    case G_TYPE_STRING: {
      const char* text = g_value_get_string(value);
      return text == nullptr ? Json() : Json(text);
    }
    case G_TYPE_BOOLEAN:
      return g_value_get_boolean(value) != FALSE;
    case G_TYPE_UINT:
      return g_value_get_uint(value);
    case G_TYPE_INT:
      return g_value_get_int(value);
    case G_TYPE_UINT64:
      return g_value_get_uint64(value);
    case G_TYPE_DOUBLE: {
      const double number = g_value_get_double(value);
      return std::isfinite(number) ? Json(std::round(number * 1e4) / 1e4) : Json();
    }
    default:
      return nullptr;
  }
}

uint64_t uint64_of(const GstStructure* structure, const char* field) {
  guint64 value = 0;
  gst_structure_get_uint64(structure, field, &value);
  return value;
}

std::string text_of(const GstStructure* structure, const char* field) {
  const char* text = gst_structure_get_string(structure, field);
  return text == nullptr ? "" : text;
}

bool waits(const PromptRecord& record) {
  return record.state == "sent" || record.state == "received";
}

}  // namespace

Json json_of(const GstStructure* structure) {
  Json object = Json::object();
  gst_structure_foreach(
      structure,
      [](GQuark field, const GValue* value, gpointer data) -> gboolean {
        std::string name = g_quark_to_string(field);
        std::replace(name.begin(), name.end(), '-', '_');
        (*static_cast<Json*>(data))[name] = json_of(value);
        return TRUE;
      },
      &object);
  return object;
}

Json json_of(const PromptRecord& record) {
  Json object = {{"prompt", record.text},
                 {"state", record.state},
                 {"asked", record.asked},
                 {"ticket", record.ticket},
                 {"blend_chunks", record.blend_chunks},
                 {"transition", record.recache ? "recache" : "blend"}};
  if (record.wanted >= 0) object["wanted"] = record.wanted;
  if (record.applied >= 0) {
    object["applied"] = record.applied;
    object["chunk"] = record.chunk;
    if (record.recache) {
      object["recached_chunks"] = record.recached_chunks;
      object["recache_ms"] = record.recache_ms;
    }
  }
  if (!record.unknown_words.empty()) object["unknown_words"] = record.unknown_words;
  return object;
}

unsigned Feed::subscribe(Listener listener) {
  listeners_.emplace(++next_listener_, std::move(listener));
  return next_listener_;
}

void Feed::publish(const Json& message) {
  const std::string text = message.dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto listeners = listeners_;  // a listener may unsubscribe meanwhile
  for (const auto& [number, listener] : listeners) listener(text);
}

void Feed::report(const GstStructure* report, double now) {
  if (gst_structure_has_name(report, "flowcache-chunk")) chunk_reported(report);
  if (gst_structure_has_name(report, "flowcache-prompt")) prompt_reported(report, now);
  if (gst_structure_has_name(report, "flowcache-strength")) strength_reported(report);
}

void Feed::strength_reported(const GstStructure* report) {
  strength_ = json_of(report);
  const uint64_t milliseconds = uint64_of(report, "pts") / 1000000;
  strength_["applied"] = static_cast<double>(milliseconds) / 1e3;
  strength_.erase("pts");
  Json message = strength_;
  message["type"] = "strength";
  publish(message);
}

void Feed::chunk_reported(const GstStructure* report) {
  Json chunk = json_of(report);
  chunk["time"] = static_cast<double>(uint64_of(report, "pts") / 1000000) / 1e3;
  chunk.erase("pts");
  chunk["type"] = "chunk";
  chunks_.push_back(chunk);
  if (chunks_.size() > chunks_kept) chunks_.pop_front();
  publish(chunk);
}

void Feed::prompt_asked(PromptRecord record) {
  record.state = "sent";
  prompts_.push_back(std::move(record));
  if (prompts_.size() > prompts_kept) prompts_.pop_front();
}

void Feed::prompt_refused() {
  if (!prompts_.empty() && prompts_.back().state == "sent") prompts_.pop_back();
}

void Feed::prompt_reported(const GstStructure* report, double now) {
  const std::string state = text_of(report, "state"), text = text_of(report, "prompt");
  const uint64_t ticket = uint64_of(report, "ticket");
  const auto is_it = [&](const PromptRecord& record) {
    // A prompt that was replaced before the model received it has no ticket.
    const bool unknown = state == "received" || (state == "replaced" && ticket == 0);
    if (record.state == "sent") return unknown && record.text == text;
    return state != "received" && record.state == "received" && record.ticket == ticket;
  };
  auto found = std::find_if(prompts_.begin(), prompts_.end(), is_it);
  if (found == prompts_.end()) {  // the first prompt, which came with the command line
    prompt_asked({.text = text, .state = "", .asked = now});
    found = prompts_.end() - 1;
  }
  found->state = state;
  found->ticket = ticket;
  found->unknown_words = text_of(report, "unknown-words");
  if (state == "applied") {
    found->chunk = uint64_of(report, "chunk");
    gst_structure_get_uint(report, "recached-chunks", &found->recached_chunks);
    gst_structure_get_double(report, "recache-ms", &found->recache_ms);
    found->applied = static_cast<double>(uint64_of(report, "pts") / 1000000) / 1e3;
  }
  publish_prompt(*found);
}

void Feed::publish_prompt(const PromptRecord& record) {
  Json message = json_of(record);
  message["type"] = "prompt";
  publish(message);
}

void Feed::restarted() {
  for (PromptRecord& record : prompts_) {
    if (!waits(record)) continue;
    record.state = "lost";
    publish_prompt(record);
  }
}

size_t Feed::waiting() const {
  return static_cast<size_t>(std::count_if(prompts_.begin(), prompts_.end(), waits));
}

Json Feed::prompts() const {
  Json all = Json::array();
  for (const PromptRecord& record : prompts_) all.push_back(json_of(record));
  return all;
}

}  // namespace flowcache::live
