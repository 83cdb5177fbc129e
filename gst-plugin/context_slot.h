// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a display or a context is kept that comes by GstElement::set_context().
#pragma once

#include <gst/gst.h>

#include <mutex>
#include <thread>

namespace flowcache::gst {

/// One GstObject or none. Applications set contexts from any thread. GStreamer's helpers that ask the
/// pipeline for one write to a place that they are given, and count on set_context() filling that place while
/// they ask, on the same thread. No lock may be held then, as others are asked. So each asks with a place of
/// its own.
template <typename Object>
class ContextSlot {
 public:
  ContextSlot() = default;
  ~ContextSlot() { gst_clear_object(&object_); }
  ContextSlot(const ContextSlot&) = delete;
  ContextSlot& operator=(const ContextSlot&) = delete;

  /// A reference, owned by the caller; null if there is none. Any thread.
  Object* ref() const {
    std::lock_guard lock(mutex_);
    return object_ == nullptr ? nullptr : static_cast<Object*>(gst_object_ref(object_));
  }

  bool has() const {
    std::lock_guard lock(mutex_);
    return object_ != nullptr;
  }

  /// Takes the reference. null empties the slot. Any thread, also the one that asks.
  void put(Object* object) {
    std::lock_guard lock(mutex_);
    gst_object_replace(reinterpret_cast<GstObject**>(&object_), reinterpret_cast<GstObject*>(object));
    if (place_ != nullptr && asker_ == std::this_thread::get_id()) {
      gst_object_replace(reinterpret_cast<GstObject**>(place_), reinterpret_cast<GstObject*>(object));
    }
    gst_clear_object(&object);
  }

  /// Calls fill(Object** place), which may call put() by a detour, and keeps what it has left there. Returns
  /// what it returns. One thread at a time.
  template <typename Fill>
  bool ask(Fill fill) {
    Object* place = ref();
    set_place(&place);
    const bool found = fill(&place);
    set_place(nullptr);
    if (place != nullptr) put(place);
    return found;
  }

 private:
  void set_place(Object** place) {
    std::lock_guard lock(mutex_);
    place_ = place;
    asker_ = std::this_thread::get_id();
  }

  mutable std::mutex mutex_;
  Object* object_ = nullptr;
  Object** place_ = nullptr;  ///< of a call of ask()
  std::thread::id asker_;
};

}  // namespace flowcache::gst
