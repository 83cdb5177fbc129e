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

}  // namespace

at::Tensor SeamFade::apply(const at::Tensor& frames, bool cut) {
  const int64_t count = frames.size(0);
  if (frames_ == 0 || count == 0) return frames;
  at::Tensor shown = frames;
  if (last_.defined() && !cut) {
    const at::Tensor jump = frames[0] - last_;
    const at::Tensor share = (1 - natural * motion_ / (amount(jump) + invisible)).clamp(0, 1);
    const int64_t faded = std::min(frames_, count);
    // Towards the last frame itself, not by the jump: what has moved on since leaves no mark where it came
    // from.
    const at::Tensor left = 1 - at::arange(1, faded + 1, frames.options()).view({faded, 1, 1, 1}) /
                                    static_cast<double>(faded + 1);
    shown = frames.clone();
    shown.narrow(0, 0, faded).lerp_(last_, left * share);
  }
  // The chunk's own motion, without what was added: the fade must not pass for movement.
  if (count > 1) motion_ = amount(frames.diff(1, 0).abs_().mean(0));
  if (!motion_.defined()) motion_ = at::zeros_like(amount(frames[0]));
  last_ = shown[count - 1];
  return shown;
}

}  // namespace flowcache
