// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine: libflowcache, which is opened when it is first needed, and the models that the process has
// loaded. A scan of the plugin does not open it. If it is missing, the element posts a message; GStreamer
// does not refuse the plugin.
#pragma once

#include <gst/gst.h>

#include <compare>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "flowcache.h"
#include "properties.h"

// Debug categories: `flowcachesrc` for the element, `flowcacheengine` for what the engine says.
GST_DEBUG_CATEGORY_EXTERN(flowcache_src_debug);
GST_DEBUG_CATEGORY_EXTERN(flowcache_engine_debug);
#define GST_CAT_DEFAULT flowcache_src_debug

namespace flowcache::gst {

// Registers the debug categories. May be called several times.
void init_log();

// The functions of flowcache.h that the element uses. Never closed: LibTorch cannot be unloaded.
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
  decltype(&fc_stream_lora) stream_lora;
  decltype(&fc_stream_deadline) stream_deadline;
  decltype(&fc_stream_feed) stream_feed;
  decltype(&fc_stream_feed_frames) stream_feed_frames;
  decltype(&fc_stream_rehearse) stream_rehearse;
  decltype(&fc_stream_next) stream_next;
  decltype(&fc_stream_cancel) stream_cancel;
  decltype(&fc_stream_reset) stream_reset;
  decltype(&fc_stream_get_stats) stream_get_stats;
  decltype(&fc_chunk_describe) chunk_describe;
  decltype(&fc_chunk_write) chunk_write;
  decltype(&fc_chunk_unref) chunk_unref;

  // Opens the library at the first place that has one, once for each path and process. The places are
  // $FLOWCACHE_ENGINE alone if it is set; else the plugin's folder, ../engine (a build folder), .. (an
  // installed libdir), and then what the loader searches. On failure returns nullptr, and `error` lists
  // every place and why it was not used. Any thread.
  static const EngineLibrary* open(std::string* error);
  // True if a file exists at one of these places, without the loader's own. Opens nothing.
  static bool is_installed();
  // The folder of that file, with symbolic links resolved; empty if there is no file. Opens nothing.
  static std::string folder();
  // These places, for code that watches them for changes.
  static std::vector<std::string> places();
};

// True if a description has a picture size and a frame rate.
bool is_complete(const fc_model_info& model);

// The calling thread's last error message of the engine, as valid UTF-8.
std::string last_error_of(const EngineLibrary& library);

// Elements with equal keys share an engine.
struct EngineKey {
  const EngineLibrary* library = nullptr;
  EngineSettings settings;

  auto operator<=>(const EngineKey&) const = default;
};

// A loaded model. It is unloaded when the last element and the last frame that use it are gone.
class LoadedEngine {
 public:
  LoadedEngine(const EngineKey& key, fc_engine* engine) : key_(key), engine_(engine) {}
  ~LoadedEngine() { key_.library->engine_unref(engine_); }
  LoadedEngine(const LoadedEngine&) = delete;
  LoadedEngine& operator=(const LoadedEngine&) = delete;

  const EngineKey& key() const { return key_; }
  fc_engine* handle() const { return engine_; }

 private:
  EngineKey key_;
  fc_engine* engine_;
};

struct LoadResult {
  std::shared_ptr<LoadedEngine> engine;  // null unless status is FC_OK
  fc_status status = FC_OK;
  std::string error;
};

// Called on the loading thread with a stage's name and the share that is done, 0..1. Returning false
// cancels.
using LoadProgress = std::function<bool(const char* stage, double fraction)>;

// Blocks until the model is loaded, by this call or by another thread that is already loading it. picture:
// the size that memory is checked for if it is loaded now; zeros: the model's own. Any thread.
LoadResult load_engine(const EngineKey& key, fc_picture_size picture, const LoadProgress& progress);

// How many models the process holds, for tests and `stats`.
size_t loaded_engines();

}  // namespace flowcache::gst
