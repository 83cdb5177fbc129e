// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/seam_fade.h"

namespace flowcache {
namespace {

constexpr int64_t around = 15;      // pixels: side of the square that counts as "there"
constexpr double natural = 1.5;     // a jump up to so many times the motion is motion
constexpr double invisible = 1e-3;  // a quarter of a 255th

// Mean absolute value over channels and the pixels around: [3, H, W] -> [1, H, W]. Columns first, then rows:
// a fourth of the work of whole squares.
at::Tensor amount(const at::Tensor& change) {
  at::Tensor mean = change.abs().mean(0, /*keepdim=*/true);
  for (const int64_t rows : {around, int64_t{1}}) {
    const int64_t columns = rows == 1 ? around : 1;
    mean = at::avg_pool2d(mean, {rows, columns}, 1, {rows / 2, columns / 2}, /*ceil_mode=*/false,
                          /*count_include_pad=*/false);
  }
  return mean;
}

// Mean absolute change from frame to frame, [n, 3, H, W] -> [3, H, W]. Frame by frame, as two of them fit a
// core's cache and a chunk does not.
at::Tensor mean_change(const at::Tensor& frames) {
  at::Tensor sum = at::zeros_like(frames[0]);
  for (int64_t i = 1; i < frames.size(0); ++i) sum += (frames[i] - frames[i - 1]).abs_();
  return sum.div_(frames.size(0) - 1);
}

}  // namespace

void SeamFade::apply(at::Tensor& frames, bool cut) {
  const int64_t count = frames.size(0);
  if (frames_ == 0 || count == 0) return;
  // The chunk's own motion, without what is added: the fade must not pass for movement.
  const at::Tensor motion = count > 1 ? amount(mean_change(frames)) : at::Tensor();
  if (last_.defined() && !cut) {
    const at::Tensor jump = frames[0] - last_;
    const at::Tensor share = (1 - natural * motion_ / (amount(jump) + invisible)).clamp(0, 1);
    const int64_t faded = std::min(frames_, count);
    // Towards the last frame itself, not by the jump: what has moved on since leaves no mark where it came
    // from.
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
