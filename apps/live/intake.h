// SPDX-License-Identifier: LGPL-2.1-or-later
// The end of an input's pipeline: fits its frames to the model's picture and offers them to the feeder. Pictures of
// another shape cover the model's and are cropped around their middle, as pictures of --prefix are.
#pragma once

#include <atomic>

#include "frame_feeder.h"

namespace flowcache::live {

class Intake {
 public:
  struct Size {
    unsigned width = 0, height = 0;  // 0: not known yet
    bool operator==(const Size&) const = default;
  };

  // What follows a source of raw video in a line. `clock`: frames are offered at their time.
  static std::string line(const GstCaps* caps, bool clock);

  // Takes the frames of a pipeline that has line() in it.
  Intake(GstElement* pipeline, std::shared_ptr<FrameFeeder> feeder);
  // The pipeline may go on for a while: its frames are not offered any more.
  ~Intake();
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  guint64 frames() const { return shared_->frames; }
  // Of the picture as it came.
  Size size() const;

 private:
  // What streaming threads use, also after the intake is gone.
  struct Shared {
    std::shared_ptr<FrameFeeder> feeder;
    std::atomic<bool> open{true};
    std::atomic<guint64> frames{0};
    std::atomic<guint64> size{0};  // width << 32 | height
  };
  const std::shared_ptr<Shared> shared_;
};

}  // namespace flowcache::live
