// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine.h"

#include <dlfcn.h>
#include <gmodule.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

GST_DEBUG_CATEGORY(flowcache_src_debug);
GST_DEBUG_CATEGORY(flowcache_engine_debug);

namespace flowcache::gst {

void init_log() {
  GST_DEBUG_CATEGORY_INIT(flowcache_src_debug, "flowcachesrc", 0, "FlowCache source");
  GST_DEBUG_CATEGORY_INIT(flowcache_engine_debug, "flowcacheengine", 0, "FlowCache engine");
}

namespace {

constexpr const char* kEngineFile = "libflowcache.so.0";

std::string plugin_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&plugin_folder), &info) == 0 || info.dli_fname == nullptr) return {};
  g_autofree char* folder = g_path_get_dirname(info.dli_fname);
  return folder;
}

std::vector<std::string> search_order() {
  const char* chosen = g_getenv("FLOWCACHE_ENGINE");
  if (chosen != nullptr && *chosen != '\0') return {chosen};
  std::vector<std::string> places;
  const std::string folder = plugin_folder();
  if (!folder.empty()) {
    for (const char* step : {"/", "/../engine/", "/../"}) places.push_back(folder + step + kEngineFile);
  }
  places.emplace_back(kEngineFile);
  return places;
}

// Fills one entry of the table; remembers the first symbol that is missing.
template <typename Function>
void resolve(GModule* module, const char* name, Function* entry, std::string* missing) {
  gpointer symbol = nullptr;
  if (!g_module_symbol(module, name, &symbol) || symbol == nullptr) {
    if (missing->empty()) *missing = name;
    return;
  }
  *entry = reinterpret_cast<Function>(symbol);
}

std::string resolve_all(GModule* module, EngineLibrary* library) {
  std::string missing;
  resolve(module, "fc_last_error", &library->last_error, &missing);
  resolve(module, "fc_abi_version", &library->abi_version, &missing);
  resolve(module, "fc_version", &library->version, &missing);
  resolve(module, "fc_status_name", &library->status_name, &missing);
  resolve(module, "fc_set_log_function", &library->set_log_function, &missing);
  resolve(module, "fc_model_describe", &library->model_describe, &missing);
  resolve(module, "fc_engine_open", &library->engine_open, &missing);
  resolve(module, "fc_engine_unref", &library->engine_unref, &missing);
  resolve(module, "fc_engine_device", &library->engine_device, &missing);
  resolve(module, "fc_engine_precision", &library->engine_precision, &missing);
  resolve(module, "fc_stream_open", &library->stream_open, &missing);
  resolve(module, "fc_stream_close", &library->stream_close, &missing);
  resolve(module, "fc_stream_prompt", &library->stream_prompt, &missing);
  resolve(module, "fc_stream_unknown_words", &library->stream_unknown_words, &missing);
  resolve(module, "fc_stream_tune", &library->stream_tune, &missing);
  resolve(module, "fc_stream_negative_prompt", &library->stream_negative_prompt, &missing);
  resolve(module, "fc_stream_lora", &library->stream_lora, &missing);
  resolve(module, "fc_stream_deadline", &library->stream_deadline, &missing);
  resolve(module, "fc_stream_feed", &library->stream_feed, &missing);
  resolve(module, "fc_stream_feed_frames", &library->stream_feed_frames, &missing);
  resolve(module, "fc_stream_rehearse", &library->stream_rehearse, &missing);
  resolve(module, "fc_stream_next", &library->stream_next, &missing);
  resolve(module, "fc_stream_cancel", &library->stream_cancel, &missing);
  resolve(module, "fc_stream_reset", &library->stream_reset, &missing);
  resolve(module, "fc_stream_get_stats", &library->stream_get_stats, &missing);
  resolve(module, "fc_chunk_describe", &library->chunk_describe, &missing);
  resolve(module, "fc_chunk_write", &library->chunk_write, &missing);
  resolve(module, "fc_chunk_unref", &library->chunk_unref, &missing);
  return missing;
}

void bridge_log(void*, fc_log_level level, const char* message) {
  GstDebugLevel to = GST_LEVEL_DEBUG;
  if (level == FC_LOG_ERROR) to = GST_LEVEL_ERROR;
  if (level == FC_LOG_WARNING) to = GST_LEVEL_WARNING;
  if (level == FC_LOG_INFO) to = GST_LEVEL_INFO;
  GST_CAT_LEVEL_LOG(flowcache_engine_debug, to, nullptr, "%s", message);
}

// Without this the engine's arithmetic threads would spin for long while they wait for each other, and take
// the cores from the encoder downstream. They still spin for a few microseconds, which is faster than
// sleeping at once. OpenMP reads the variable when it is loaded, which happens when the engine is opened.
void sleep_at_barriers() {
  if (g_getenv("OMP_WAIT_POLICY") == nullptr) g_setenv("GOMP_SPINCOUNT", "1000", FALSE);
}

// Opens the engine in this file. On failure returns nullptr, and `reason` says why.
std::unique_ptr<EngineLibrary> open_at(const std::string& path, std::string* reason) {
  if (g_path_is_absolute(path.c_str()) && !g_file_test(path.c_str(), G_FILE_TEST_EXISTS)) {
    *reason = "no such file";
    return nullptr;
  }
  sleep_at_barriers();
  GModule* module =
      g_module_open(path.c_str(), static_cast<GModuleFlags>(G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL));
  if (module == nullptr) {
    *reason = g_module_error();
    return nullptr;
  }
  auto library = std::make_unique<EngineLibrary>();
  library->path = path;
  const std::string missing = resolve_all(module, library.get());
  if (!missing.empty()) {
    *reason = "has no " + missing + ": not a libflowcache, or one of another version";
  } else if (library->abi_version() != FC_ABI_VERSION) {
    *reason = "has interface version " + std::to_string(library->abi_version()) + ", this plugin needs " +
              std::to_string(FC_ABI_VERSION) + ": install plugin and engine of the same release";
  } else {
    g_module_make_resident(module);
    library->set_log_function(bridge_log, nullptr);
    GST_INFO("opened engine %s, version %s", path.c_str(), library->version());
    return library;
  }
  g_module_close(module);
  return nullptr;
}

}  // namespace

const EngineLibrary* EngineLibrary::open(std::string* error) {
  static std::mutex mutex;
  // Never destroyed: workers still call the engine while exit handlers run.
  static auto& opened = *new std::map<std::string, std::unique_ptr<EngineLibrary>>;
  std::lock_guard lock(mutex);
  error->clear();
  for (const std::string& path : search_order()) {
    if (auto found = opened.find(path); found != opened.end()) return found->second.get();
    std::string reason;
    if (auto library = open_at(path, &reason))
      return opened.emplace(path, std::move(library)).first->second.get();
    if (!error->empty()) *error += "; ";
    *error += path + ": " + reason;
  }
  return nullptr;
}

std::vector<std::string> EngineLibrary::places() {
  std::vector<std::string> paths = search_order();
  std::erase_if(paths, [](const std::string& path) { return path.find('/') == std::string::npos; });
  return paths;
}

bool EngineLibrary::is_installed() {
  return !folder().empty();
}

std::string EngineLibrary::folder() {
  for (const std::string& path : places()) {
    if (char* file = realpath(path.c_str(), nullptr)) {
      g_autofree char* parent = g_path_get_dirname(file);
      free(file);
      return parent;
    }
  }
  return {};
}

bool is_complete(const fc_model_info& model) {
  return model.width > 0 && model.height > 0 && model.fps_n > 0 && model.fps_d > 0 &&
         model.frames_per_chunk > 0;
}

std::string last_error_of(const EngineLibrary& library) {
  g_autofree char* valid = g_utf8_make_valid(library.last_error(), -1);
  return valid;
}

namespace {

struct Entry {
  std::weak_ptr<LoadedEngine> engine;
  bool loading = false;
};

// Never destroyed, because workers may still wait here while exit handlers run.
std::mutex& pool_mutex = *new std::mutex;
std::condition_variable& pool_changed = *new std::condition_variable;

std::map<EngineKey, Entry>& pool() {
  static auto& entries = *new std::map<EngineKey, Entry>;
  return entries;
}

struct ProgressCall {
  const LoadProgress& progress;
  static int forward(void* user, const char* stage, double fraction) {
    return static_cast<ProgressCall*>(user)->progress(stage, fraction) ? 0 : 1;
  }
};

// Marks an entry as loading while it exists. The mark also goes if the engine throws.
class LoadingMark {
 public:
  explicit LoadingMark(const EngineKey& key) : key_(key) {}
  ~LoadingMark() {
    {
      std::lock_guard lock(pool_mutex);
      pool()[key_].loading = false;
    }
    pool_changed.notify_all();
  }

 private:
  const EngineKey& key_;
};

LoadResult open_engine(const EngineKey& key, fc_picture_size picture, const LoadProgress& progress) {
  fc_engine_config config = engine_config(key.settings);
  config.width = picture.width;
  config.height = picture.height;
  ProgressCall call{progress};
  fc_engine* engine = nullptr;
  LoadResult result;
  result.status = key.library->engine_open(&config, ProgressCall::forward, &call, &engine);
  if (result.status != FC_OK) {
    result.error = last_error_of(*key.library);
  } else {
    result.engine = std::make_shared<LoadedEngine>(key, engine);
  }
  return result;
}

}  // namespace

LoadResult load_engine(const EngineKey& key, fc_picture_size picture, const LoadProgress& progress) {
  std::unique_lock lock(pool_mutex);
  while (true) {
    if (auto engine = pool()[key].engine.lock()) return {engine, FC_OK, {}};
    if (!pool()[key].loading) break;
    // Another element loads this model. Ask regularly whether the caller still wants it.
    pool_changed.wait_for(lock, std::chrono::milliseconds(20));
    lock.unlock();
    const bool go_on = progress("shared", 0.0);
    lock.lock();
    if (!go_on) return {nullptr, FC_CANCELLED, "loading was cancelled"};
  }
  pool()[key].loading = true;
  lock.unlock();

  LoadingMark mark(key);
  LoadResult result = open_engine(key, picture, progress);
  lock.lock();
  pool()[key].engine = result.engine;
  lock.unlock();
  return result;
}

size_t loaded_engines() {
  std::lock_guard lock(pool_mutex);
  size_t count = 0;
  for (const auto& [key, entry] : pool()) count += entry.engine.expired() ? 0 : 1;
  return count;
}

}  // namespace flowcache::gst
