// SPDX-License-Identifier: LGPL-2.1-or-later
// The element's properties as plain values.
#pragma once

#include <gst/gst.h>

#include <optional>
#include <string>

#include "frame_worker.h"

namespace flowcache::gst {

/// What to do in a slot of the time grid for which no frame is ready in time.
enum class Underrun { Repeat, Skip, Stall };

/// Keys and values of finished chunks: as fc_stream_config.clean_context.
enum class CleanContext { Model = 0, Off = 1, On = 2 };

inline constexpr const char* kDefaultPrompt = "slow green aurora over mountains";
inline constexpr double kModelDefault = -1.0;  ///< of properties that are numbers
inline constexpr guint kDefaultChunksAhead = 2;
inline constexpr size_t kMaxPromptBytes = 8192;

struct Settings {
  std::string model, device, cache, kv_cache, negative_prompt, script_location, key_prompts, prefix_location;
  std::string prompt = kDefaultPrompt;
  guint64 seed = 0, kv_budget = 0;
  double cache_threshold = kModelDefault, guidance_scale = kModelDefault;
  guint blend_chunks = 0;
  gboolean report_chunks = FALSE, sei = FALSE, qos = FALSE, end_with_script = FALSE, placeholder = FALSE, live = TRUE;
  guint steps = 0, lag = 0, threads = 0, chunks_ahead = kDefaultChunksAhead;
  GstClockTime latency = GST_CLOCK_TIME_NONE;  ///< NONE: measured
  GstClockTime stats_interval = 0;
  GstClockTimeDiff timestamp_offset = 0;
  GstClockTimeDiff max_lateness = 0;  ///< on top of the reported latency; -1: no limit
  Underrun underrun = Underrun::Repeat;
  CleanContext clean_context = CleanContext::Model;
};

/// A property's -1 becomes the engine's 0, "take the default", and a threshold of 0 its FC_NEVER.
double engine_threshold(double property);
double engine_guidance(double property);
StreamOptions stream_options(const Settings& settings);
EngineKey engine_key(const Settings& settings, const EngineLibrary* library);

/// Why the engine would refuse this prompt, with the remedy; nothing if it would not.
std::optional<std::string> prompt_problem(const std::string& prompt);

}  // namespace flowcache::gst
