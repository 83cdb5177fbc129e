// SPDX-License-Identifier: LGPL-2.1-or-later
#include "latency.h"

#include <algorithm>
#include <cmath>

namespace flowcache::gst {

void LatencyEstimator::reset(uint64_t frame_ns, uint32_t frames_per_chunk) {
  *this = LatencyEstimator();
  frame_ns_ = frame_ns;
  frames_per_chunk_ = std::max(1u, frames_per_chunk);
}

bool LatencyEstimator::add(double chunk_seconds) {
  if (frame_ns_ == 0 || !std::isfinite(chunk_seconds)) return false;
  if (first_) {
    first_ = false;
    return false;
  }
  const double late = chunk_seconds * 1e9 / static_cast<double>(frame_ns_) - frames_per_chunk_;
  const double frames = std::clamp(std::ceil(late), 0.0, static_cast<double>(frames_per_chunk_));
  needed_frames_.push_back(static_cast<uint64_t>(frames));
  if (needed_frames_.size() > kWindow) needed_frames_.pop_front();

  const uint64_t worst = *std::max_element(needed_frames_.begin(), needed_frames_.end());
  const bool grow = worst > budget_frames_;
  const bool shrink = needed_frames_.size() == kWindow && worst + 2 <= budget_frames_;
  if (!grow && !shrink) return false;
  budget_frames_ = worst;
  return true;
}

}  // namespace flowcache::gst
