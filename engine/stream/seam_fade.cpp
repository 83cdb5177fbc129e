// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/seam_fade.h"

#include "fade.h"

namespace flowcache {
namespace {

// Jump and motion are averaged over squares of cells around each cell: side of a cell in pixels, of a square in cells.
constexpr int64_t cell = 4, around = 3;
// A jump of up to this many times the motion counts as motion: of the motion that has the small jumps between
// latent frames in it, and of that without them.
constexpr double natural_among_latents = 1.5, natural_inside = 1.3;
constexpr double invisible = 1e-3;  // differences far below this cannot be seen: it is a quarter of 1/255

// [h, w] -> the same, averaged over squares of cells.
at::Tensor averaged(const at::Tensor& cells) {
  return at::avg_pool2d(cells.unsqueeze(0), around, 1, around / 2, /*ceil_mode=*/false,
                        /*count_include_pad=*/false)[0];
}

}  // namespace

// Whether the step from the frame before to this one counts as motion. Where borders of latent frames fade,
// the steps there do not.
bool SeamFade::inside(int64_t frame, int64_t count) const {
  return latent_frames_ == 0 || (count - frame) % stride_ != 0;
}

// The mean change from frame to frame, [n, 3, H, W] -> [h, w], of n > 1 frames: a run of frames without a border that
// does not count, then the next.
at::Tensor SeamFade::motion_of(const at::Tensor& frames) const {
  const int64_t count = frames.size(0);
  at::Tensor sum;
  int64_t steps = 0;
  for (int64_t begin = 0, end; begin < count; begin = end) {
    for (end = begin + 1; end < count && inside(end, count);) ++end;
    if (end - begin < 2) continue;
    const at::Tensor change =
        change_in_cells(frames.slice(0, begin + 1, end), frames.slice(0, begin, end - 1), cell)
            .mul_(static_cast<double>(end - begin - 1));
    sum = sum.defined() ? sum.add_(change) : change;
    steps += end - begin - 1;
  }
  return averaged(sum.div_(steps));
}

// Frames are mixed with the last frame shown. Adding the jump to them instead would leave a ghost where
// something has moved away.
void SeamFade::fade(at::Tensor& frames, int64_t begin, const at::Tensor& before, const at::Tensor& motion,
                    int64_t most) const {
  const double natural = latent_frames_ == 0 ? natural_among_latents : natural_inside;
  const at::Tensor jump = averaged(change_in_cells(frames.narrow(0, begin, 1), before.unsqueeze(0), cell));
  most = std::min(most, frames.size(0) - begin);
  // A mix with a picture that stands still moves less, and the jump that goes away is a motion of its own. A
  // jump of r times the motion is gone in r + 1 frames if the two together are to be the motion.
  const at::Tensor over = (jump / (motion + invisible) + 1).clamp_max_(static_cast<double>(most));
  // As much of the jump fades as leaves a first step that is natural, or all of it if that is not enough.
  const at::Tensor share = ((1 - natural * motion / (jump + invisible)) * (over + 1) / over).clamp_(0, 1);
  const at::Tensor fine =  // [2, H, W]
      at::upsample_bilinear2d(at::stack({(over + 1).reciprocal_(), share}).unsqueeze(0),
                              {cell * over.size(0), cell * over.size(1)}, /*align_corners=*/false)[0]
          .slice(1, 0, frames.size(2))
          .slice(2, 0, frames.size(3));
  fade_from(before, fine[0], fine[1], frames.narrow(0, begin, most));
}

void SeamFade::apply(at::Tensor& frames, bool cut) {
  const int64_t count = frames.size(0);
  if ((chunk_frames_ == 0 && latent_frames_ == 0) || count == 0) return;
  // The chunk's own motion, taken before anything fades, so that a fade does not count as motion.
  const at::Tensor motion = count > 1 ? motion_of(frames) : at::Tensor();
  if (chunk_frames_ > 0 && last_.defined() && !cut) fade(frames, 0, last_, motion_, chunk_frames_);
  if (latent_frames_ > 0)
    for (int64_t i = 1; i < count; ++i)
      if (!inside(i, count)) fade(frames, i, frames[i - 1], motion, latent_frames_);
  if (motion.defined())
    motion_ = motion;
  else if (!motion_.defined())
    motion_ = at::zeros_like(change_in_cells(frames, frames, cell));
  last_ = frames[count - 1];
}

}  // namespace flowcache
