// SPDX-License-Identifier: LGPL-2.1-or-later
// libflowcache.so, opened when it is first needed, so that scanning the plugin stays cheap and a missing
// engine is a message instead of a blacklisted plugin.
#pragma once

#include <string>
#include <vector>

#include "flowcache.h"

namespace flowcache::gst {

/// The functions of flowcache.h that the element uses. Never closed: LibTorch cannot be unloaded.
struct EngineLibrary {
  std::string path;

  decltype(&fc_last_error) last_error;
  decltype(&fc_abi_version) abi_version;
  decltype(&fc_version) version;
  decltype(&fc_status_name) status_name;
  decltype(&fc_set_log_function) set_log_function;
  decltype(&fc_model_describe) model_describe;
  decltype(&fc_engine_open) engine_open;
  decltype(&fc_engine_unref) engine_unref;
  decltype(&fc_engine_device) engine_device;
  decltype(&fc_engine_precision) engine_precision;
  decltype(&fc_stream_open) stream_open;
  decltype(&fc_stream_close) stream_close;
  decltype(&fc_stream_prompt) stream_prompt;
  decltype(&fc_stream_unknown_words) stream_unknown_words;
  decltype(&fc_stream_tune) stream_tune;
  decltype(&fc_stream_negative_prompt) stream_negative_prompt;
  decltype(&fc_stream_deadline) stream_deadline;
  decltype(&fc_stream_next) stream_next;
  decltype(&fc_stream_cancel) stream_cancel;
  decltype(&fc_stream_reset) stream_reset;
  decltype(&fc_stream_get_stats) stream_get_stats;
  decltype(&fc_chunk_describe) chunk_describe;
  decltype(&fc_chunk_write) chunk_write;
  decltype(&fc_chunk_unref) chunk_unref;

  /// The library at the first place of the search order that has one; opened once per path and process. Any
  /// thread. Order: $FLOWCACHE_ENGINE alone if set; else beside the plugin, ../engine (a build folder), ..
  /// (an installed libdir), then the loader's own search. nullptr on failure; `error` then lists every place
  /// tried and why it was not used.
  static const EngineLibrary* open(std::string* error);
  /// Is there a file at one of these places, the loader's own left out? Opens nothing.
  static bool is_installed();
  /// The folder of that file, without links; empty if there is none. Opens nothing.
  static std::string folder();
  /// These places, for whoever watches them.
  static std::vector<std::string> places();
};

/// Whether a description has the size and the rate that everything here counts on.
bool is_complete(const fc_model_info& model);

/// The calling thread's last engine error as valid UTF-8.
std::string last_error_of(const EngineLibrary& library);

}  // namespace flowcache::gst
