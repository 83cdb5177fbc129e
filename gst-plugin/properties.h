// SPDX-License-Identifier: LGPL-2.1-or-later
// The element's properties: their values, and a table that says everything else about them. A new property is
// a member of one of these structs and an entry in properties_table.cpp. From these follow gst-inspect-1.0,
// REFERENCE.md, setting and getting, the URI, and the engine's configuration.
#pragma once

#include <gst/gst.h>

#include <compare>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "flowcache.h"

namespace flowcache::gst {

// What to do if no frame is ready for a slot of the time grid.
enum class Underrun { Repeat, Skip, Stall };

// What a filter does with frames that come while it has more to do already.
enum class LatePolicy { Drop, Stall };

// How history gets the keys and values of finished chunks: as fc_stream_config.clean_context.
enum class CleanContext { Model = 0, Off = 1, On = 2 };

// How a new prompt takes over: by `blend-chunks`, or by fc_prompt_change's FC_PROMPT_RECACHE.
enum class Transition { Blend, Recache };

inline constexpr const char* kDefaultPrompt = "slow green aurora over mountains";
inline constexpr const char* kAutomatic = "auto";
inline constexpr double kModelDefault = -1.0;  // for properties that are numbers
inline constexpr size_t kMaxPromptBytes = 8192;

// Properties that choose the engine. Elements with equal values share one.
struct EngineSettings {
  std::string model;  // folder; "": the one that ships
  std::string device = kAutomatic, precision = kAutomatic, kv_precision = kAutomatic;
  std::string devices, attention_split, listen, on_lost_rank, decoder_device;  // "": one device
  guint threads = 0, slice_tokens = 0, rank_timeout = 0;  // here and below, 0 means the engine's default
  guint64 memory_limit = 0;                               // bytes

  auto operator<=>(const EngineSettings&) const = default;
};

// Properties that the engine reads when it opens a stream.
struct StreamSettings {
  std::string prompt = kDefaultPrompt;
  std::string negative_prompt, cache, kv_cache;  // "": the model's default
  std::string lora;                              // as fc_lora_change.loras
  guint64 seed = 0, kv_budget = 0;
  double cache_threshold = kModelDefault, guidance_scale = kModelDefault;
  guint steps = 0, lag = 0;
  CleanContext clean_context = CleanContext::Model;
  bool graphs = false;
};

// All values. Their initialisers are the properties' defaults.
struct Settings : EngineSettings, StreamSettings {
  std::string script_location, key_prompts, prefix_location;
  bool end_with_script = false, live = true, placeholder = false, qos = false, report_chunks = false,
       sei = false;
  guint blend_chunks = 0, chunks_ahead = 2;
  GstClockTime latency = GST_CLOCK_TIME_NONE;  // NONE: the measured value
  GstClockTime stats_interval = 0;
  GstClockTimeDiff timestamp_offset = 0;
  GstClockTimeDiff max_lateness = 0;  // beyond the reported latency; -1: no limit
  Underrun underrun = Underrun::Repeat;
  Transition transition = Transition::Blend;
  double strength = 0.87;              // of a filter
  bool follow_motion = false;          // of a filter
  LatePolicy late = LatePolicy::Drop;  // of a filter

  // As fc_prompt_change.blend_chunks.
  guint transition_chunks() const {
    return transition == Transition::Recache ? FC_PROMPT_RECACHE : blend_chunks;
  }
};

// Which elements have a property.
enum class Elements { Both, Source, Filter };

// What setting a property does besides storing the value.
enum class Handling {
  Store,           // nothing; code reads the value when it needs it
  Model,           // in READY the caps become those of the new model
  Prompt,          // the same as `set-prompt`
  NegativePrompt,  // the worker takes it before its next chunk
  Lora,            // read beside the worker, and taken before the next chunk after that
  Tune,            // the worker takes it before its next chunk; -1, or a number from 0 on
  Live,            // GstBaseSrc gets it, if no stream runs
  Strength,        // a number from 0 to 1; the filter takes it with the next chunk
  Qos,             // switches between the deadline of QosGovernor and that of the engine
  Statistics       // read only; made when it is read
};

template <typename T>
struct Range {
  T least, most;
};

struct Property {
  const char *name, *nick, *blurb;
  GParamFlags flags;  // when it may change
  std::variant<std::monostate, Range<guint>, Range<guint64>, Range<gint64>, Range<double>>
      range;  // of numbers
  GParamSpec* (*spec)(const Property& property) = nullptr;
  void (*read)(const Settings& settings, GValue* value) = nullptr;
  void (*write)(Settings& settings, const GValue* value) = nullptr;
  // Write the one field of the engine's configuration that belongs to this property; null if there is none.
  void (*to_engine)(const EngineSettings& settings, fc_engine_config* config) = nullptr;
  void (*to_stream)(const StreamSettings& settings, fc_stream_config* config) = nullptr;
  Handling handling = Handling::Store;
  Elements elements = Elements::Both;
};

// The table, in the order of REFERENCE.md. GObject's number of a property is its place, counted from 1.
std::span<const Property> properties();

// The engine's configuration. Its texts belong to the settings.
fc_engine_config engine_config(const EngineSettings& settings);
fc_stream_config stream_config(const StreamSettings& settings);

// Checks that this file can be read, before anything tries to. Returns the end of a message, such as "is no
// regular file.", or "" if it can.
std::string file_problem(const std::string& path, goffset most_bytes);

// Why the engine would refuse this prompt, with the remedy; nothing if it accepts it.
std::optional<std::string> prompt_problem(const std::string& prompt);

}  // namespace flowcache::gst
