// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/seam_fade.h"

namespace flowcache {
namespace {

constexpr int64_t around = 15;      // pixels: side of the square over which jump and motion are averaged
constexpr double natural = 1.5;     // a jump of up to this many times the motion counts as motion
constexpr double invisible = 1e-3;  // differences far below this cannot be seen: it is a quarter of 1/255

// The mean absolute value over the channels and a square around each pixel: [3, H, W] -> [1, H, W]. Columns
// are averaged first, then rows, which takes a fourth of the work of whole squares.
at::Tensor amount(const at::Tensor& change) {
  at::Tensor mean = change.abs().mean(0, /*keepdim=*/true);
  for (const int64_t rows : {around, int64_t{1}}) {
    const int64_t columns = rows == 1 ? around : 1;
    mean = at::avg_pool2d(mean, {rows, columns}, 1, {rows / 2, columns / 2}, /*ceil_mode=*/false,
                          /*count_include_pad=*/false);
  }
  return mean;
}

// The mean absolute change from frame to frame, [n, 3, H, W] -> [3, H, W]. It goes frame by frame, because
// two frames fit into a core's cache and a chunk does not.
at::Tensor mean_change(const at::Tensor& frames) {
  at::Tensor sum = at::zeros_like(frames[0]);
  for (int64_t i = 1; i < frames.size(0); ++i) sum += (frames[i] - frames[i - 1]).abs_();
  return sum.div_(frames.size(0) - 1);
}

}  // namespace

void SeamFade::apply(at::Tensor& frames, bool cut) {
  const int64_t count = frames.size(0);
  if (frames_ == 0 || count == 0) return;
  // The chunk's own motion, taken before the fade is added, so that the fade does not count as motion.
  const at::Tensor motion = count > 1 ? amount(mean_change(frames)) : at::Tensor();
  if (last_.defined() && !cut) {
    const at::Tensor jump = frames[0] - last_;
    const at::Tensor share = (1 - natural * motion_ / (amount(jump) + invisible)).clamp(0, 1);
    const int64_t faded = std::min(frames_, count);
    // Frames are mixed with the last frame shown. Adding the jump to them instead would leave a ghost where
    // something has moved away.
    const at::Tensor left = 1 - at::arange(1, faded + 1, frames.options()).view({faded, 1, 1, 1}) /
                                    static_cast<double>(faded + 1);
    frames.narrow(0, 0, faded).lerp_(last_, left * share);
  }
  if (motion.defined())
    motion_ = motion;
  else if (!motion_.defined())
    motion_ = at::zeros_like(amount(frames[0]));
  last_ = frames[count - 1];
}

}  // namespace flowcache
