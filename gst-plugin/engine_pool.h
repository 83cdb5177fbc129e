// SPDX-License-Identifier: LGPL-2.1-or-later
// Loaded models, shared by all elements of the process that ask for the same one.
#pragma once

#include <compare>
#include <functional>
#include <memory>
#include <string>

#include "engine_library.h"
#include "properties.h"

namespace flowcache::gst {

/// What makes two elements' engines the same.
struct EngineKey {
  const EngineLibrary* library = nullptr;
  EngineSettings settings;

  auto operator<=>(const EngineKey&) const = default;
};

/// Unloads the model when the last element and the last frame let go.
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
  std::shared_ptr<LoadedEngine> engine;  ///< null unless status is FC_OK
  fc_status status = FC_OK;
  std::string error;
};

/// Called on the loading thread with a stage's name and the part that is done, 0..1; false cancels.
using LoadProgress = std::function<bool(const char* stage, double fraction)>;

/// Blocks until the model is loaded, by this call or by another thread's that is at it already. picture: the
/// size that memory is planned for if it is loaded now; zeros: the model's own. Any thread.
LoadResult load_engine(const EngineKey& key, fc_picture_size picture, const LoadProgress& progress);

/// How many models the process holds, for tests and `stats`.
size_t loaded_engines();

}  // namespace flowcache::gst
