// SPDX-License-Identifier: LGPL-2.1-or-later
// A small JPEG of a raw picture. Main loop only.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "handles.h"

namespace flowcache::live {

class Thumbnail {
 public:
  static constexpr int width = 160;

  // For pictures of these caps. Returns null and a sentence if an element is missing.
  static std::unique_ptr<Thumbnail> make(const GstCaps* caps, std::string* error);
  ~Thumbnail();
  Thumbnail(const Thumbnail&) = delete;
  Thumbnail& operator=(const Thumbnail&) = delete;

  // The picture to show; null: none. Takes the buffer.
  void show(GstBuffer* picture);
  // The JPEG; empty if there is none.
  std::string jpeg() const;

 private:
  struct Shared {  // with the streaming thread
    std::mutex mutex;
    std::string jpeg;
    bool wanted = false;
  };
  Thumbnail() = default;

  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  GstPtr<GstElement> pipeline_;
};

}  // namespace flowcache::live
