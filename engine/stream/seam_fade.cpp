// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/seam_fade.h"

namespace flowcache {
namespace {

constexpr int64_t around = 15;  // pixels: side of the square over which jump and motion are averaged
// A jump of up to this many times the motion counts as motion: of the motion that has the small jumps between
// latent frames in it, and of that without them.
constexpr double natural_among_latents = 1.5, natural_inside = 1.3;
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

}  // namespace

// Whether the step from the frame before to this one counts as motion. Where borders of latent frames fade,
// the steps there do not.
bool SeamFade::inside(int64_t frame, int64_t count) const {
  return latent_frames_ == 0 || (count - frame) % stride_ != 0;
}

// The mean absolute change from frame to frame, [n, 3, H, W] -> [3, H, W]. It goes frame by frame, because
// two frames fit into a core's cache and a chunk does not.
at::Tensor SeamFade::mean_change(const at::Tensor& frames) const {
  at::Tensor sum = at::zeros_like(frames[0]);
  int64_t steps = 0;
  for (int64_t i = 1; i < frames.size(0); ++i) {
    if (!inside(i, frames.size(0))) continue;
    sum += (frames[i] - frames[i - 1]).abs_();
    ++steps;
  }
  return sum.div_(std::max<int64_t>(steps, 1));
}

// Frames are mixed with the last frame shown. Adding the jump to them instead would leave a ghost where
// something has moved away.
void SeamFade::fade(at::Tensor& frames, int64_t begin, const at::Tensor& before, const at::Tensor& motion,
                    int64_t most) const {
  const double natural = latent_frames_ == 0 ? natural_among_latents : natural_inside;
  const at::Tensor jump = amount(frames[begin] - before);
  most = std::min(most, frames.size(0) - begin);
  // A mix with a picture that stands still moves less, and the jump that goes away is a motion of its own. A
  // jump of r times the motion is gone in r + 1 frames if the two together are to be the motion.
  const at::Tensor over = (jump / (motion + invisible) + 1).clamp_max(static_cast<double>(most));
  // As much of the jump fades as leaves a first step that is natural, or all of it if that is not enough.
  const at::Tensor share = ((1 - natural * motion / (jump + invisible)) * (over + 1) / over).clamp(0, 1);
  for (int64_t i = 0; i < most; ++i) {
    const at::Tensor left = (1 - static_cast<double>(i + 1) / (over + 1)).clamp_min_(0);
    frames[begin + i].lerp_(before, left.mul_(share));
  }
}

void SeamFade::apply(at::Tensor& frames, bool cut) {
  const int64_t count = frames.size(0);
  if ((chunk_frames_ == 0 && latent_frames_ == 0) || count == 0) return;
  // The chunk's own motion, taken before anything fades, so that a fade does not count as motion.
  const at::Tensor motion = count > 1 ? amount(mean_change(frames)) : at::Tensor();
  if (chunk_frames_ > 0 && last_.defined() && !cut) fade(frames, 0, last_, motion_, chunk_frames_);
  if (latent_frames_ > 0)
    for (int64_t i = 1; i < count; ++i)
      if (!inside(i, count)) fade(frames, i, frames[i - 1], motion, latent_frames_);
  if (motion.defined())
    motion_ = motion;
  else if (!motion_.defined())
    motion_ = at::zeros_like(amount(frames[0]));
  last_ = frames[count - 1];
}

}  // namespace flowcache
