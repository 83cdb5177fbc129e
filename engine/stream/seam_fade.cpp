// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/seam_fade.h"

namespace flowcache {
namespace {

constexpr int64_t around = 15;      // pixels: side of the square that counts as "there"
constexpr double natural = 1.5;     // a jump up to so many times the motion is motion
constexpr double invisible = 1e-3;  // a quarter of a 255th

// Mean absolute value over channels and the pixels around: [3, H, W] -> [1, H, W].
at::Tensor amount(const at::Tensor& change) {
  return at::avg_pool2d(change.abs().mean(0, /*keepdim=*/true), around, 1, around / 2, /*ceil_mode=*/false,
                        /*count_include_pad=*/false);
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
    at::Tensor part = shown.narrow(0, 0, faded);
    part.add_(left * share * (last_ - part));
  }
  // The chunk's own motion, without what was added: the fade must not pass for movement.
  if (count > 1)
    motion_ = amount((frames.narrow(0, 1, count - 1) - frames.narrow(0, 0, count - 1)).abs().mean(0));
  if (!motion_.defined()) motion_ = at::zeros_like(amount(frames[0]));
  last_ = shown[count - 1];
  return shown;
}

}  // namespace flowcache
