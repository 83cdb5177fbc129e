// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine_pool.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

namespace flowcache::gst {
namespace {

struct Entry {
  std::weak_ptr<LoadedEngine> engine;
  bool loading = false;
};

// Never destroyed: while exit handlers run, workers still come and wait here.
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

/// Marks the entry as loading for as long as it lives, also when the engine throws.
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
    // Another element loads it. Ask now and then whether this one still wants it.
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
