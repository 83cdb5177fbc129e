// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qos_governor.h"

#include <algorithm>

namespace flowcache::gst {

void QosGovernor::reset(uint64_t frame_ns, uint32_t frames_per_chunk, uint32_t chunks_ahead) {
  *this = QosGovernor();
  const uint32_t frames = std::max(1u, frames_per_chunk);
  frame_ns_ = frame_ns;
  chunk_seconds_ = static_cast<double>(frame_ns) * frames * 1e-9;
  late_limit_ = std::max(1u, frames / 2);
  early_limit_ = 2 * frames;
  settle_ = frames * (chunks_ahead + 1);
}

bool QosGovernor::frame_shown(int64_t late_ns) {
  // Less than half a frame late is nothing that anybody sees.
  const bool late = late_ns > static_cast<int64_t>(frame_ns_ / 2);
  late_ = late ? late_ + 1 : 0;
  early_ = late_ns <= 0 ? early_ + 1 : 0;
  if (wait_ > 0) {
    --wait_;
    return false;
  }
  double part = part_;
  if (late_ >= late_limit_) part = std::max(kTightest, part_ * 0.9);
  if (early_ >= early_limit_) part = std::min(kEasy, part_ / 0.95);
  if (part == part_) return false;
  part_ = part;
  late_ = early_ = 0;
  wait_ = settle_;
  return true;
}

}  // namespace flowcache::gst
