// SPDX-License-Identifier: LGPL-2.1-or-later
// A jump between chunks, or between latent frames, is faded in where the picture does not move. Motion, cuts,
// and models without seam fade are unchanged.
#include "stream/seam_fade.h"

#include <gtest/gtest.h>

using namespace flowcache;

namespace {

// A chunk of 12 frames, 48 x 48: `first`, and `step` more in every further frame.
at::Tensor ramp(double first, double step) {
  return (first + step * at::arange(12, at::kFloat).view({12, 1, 1, 1})).expand({12, 3, 48, 48}).contiguous();
}

double value(const at::Tensor& frames, int64_t frame, int64_t x = 24) {
  return frames[frame][1][20][x].item<double>();
}

at::Tensor shown_by(SeamFade& fade, const at::Tensor& frames, bool cut) {
  at::Tensor shown = frames.clone();
  fade.apply(shown, cut);
  return shown;
}

}  // namespace

TEST(SeamFade, AJumpOfAStillPictureIsSpreadOverTheFrames) {
  SeamFade fade(7);
  EXPECT_TRUE(at::equal(shown_by(fade, ramp(.2, 0), true), ramp(.2, 0)));
  const at::Tensor shown = shown_by(fade, ramp(.6, 0), false);
  for (int64_t k = 0; k < 12; ++k) {
    const double wanted = k < 7 ? .2 + .4 * (k + 1) / 8 : .6;
    EXPECT_NEAR(value(shown, k), wanted, 2e-3) << k;
  }
  // No jump, so no fade, also none of an older one.
  EXPECT_TRUE(at::equal(shown_by(fade, ramp(.6, 0), false), ramp(.6, 0)));
}

TEST(SeamFade, AFadeLongerThanTheChunkFillsIt) {
  SeamFade fade(100);
  shown_by(fade, ramp(0, 0), true);
  const at::Tensor shown = shown_by(fade, ramp(1, 0), false);
  for (int64_t k = 0; k < 12; ++k) EXPECT_NEAR(value(shown, k), (k + 1) / 13., 3e-3) << k;
}

TEST(SeamFade, WhatMovesAtItsOwnPaceIsLeftAlone) {
  SeamFade fade(7);
  shown_by(fade, ramp(.1, .02), true);
  const at::Tensor next = ramp(.1 + 12 * .02, .02);
  EXPECT_TRUE(at::allclose(shown_by(fade, next, false), next, 0, 1e-6));
}

// A jump of r times the motion is gone after about r + 1 frames: a mix with a picture that stands still moves less.
TEST(SeamFade, WhatMovesFadesInFewerFrames) {
  SeamFade fade(8);
  shown_by(fade, ramp(.1, .02), true);  // ends at .32
  const at::Tensor next = ramp(.4, .02);
  const at::Tensor shown = shown_by(fade, next, false);
  double before = .32;
  for (int64_t i = 0; i < 12; ++i) {
    const double step = value(shown, i) - before;
    EXPECT_GT(step, .018) << i;
    EXPECT_LT(step, .04) << i;  // the jump was .08
    before = value(shown, i);
    if (i >= 5) EXPECT_NEAR(value(shown, i), value(next, i), 1e-6) << i;
  }
}

TEST(SeamFade, EachPlaceForItself) {
  SeamFade fade(7);
  at::Tensor first = ramp(.2, 0), second = ramp(.6, 0);
  first.narrow(3, 0, 24).copy_(ramp(.1, .02).narrow(3, 0, 24));  // the left half moves on
  second.narrow(3, 0, 24).copy_(ramp(.34, .02).narrow(3, 0, 24));
  shown_by(fade, first, true);
  const at::Tensor shown = shown_by(fade, second, false);
  EXPECT_NEAR(value(shown, 0, 4), value(second, 0, 4), 1e-6);
  EXPECT_NEAR(value(shown, 0, 44), .25, 2e-3);
}

TEST(SeamFade, CutsAndFreshStartsAreShownAsTheyAre) {
  SeamFade fade(7);
  shown_by(fade, ramp(.2, 0), true);
  EXPECT_TRUE(at::equal(shown_by(fade, ramp(.6, 0), true), ramp(.6, 0)));
  fade.forget();
  EXPECT_TRUE(at::equal(shown_by(fade, ramp(.1, 0), false), ramp(.1, 0)));
}

TEST(SeamFade, NoFramesMeansNothingIsTouched) {
  SeamFade fade(0);
  shown_by(fade, ramp(.2, 0), true);
  const at::Tensor next = ramp(.6, 0);
  EXPECT_TRUE(at::equal(shown_by(fade, next, false), next));
}

// Pictures of a small decoder: four to a latent frame that move by .01, and a jump of .05 to the next four.
TEST(SeamFade, StepsBetweenLatentFramesBecomeTheMotionInsideOfThem) {
  const at::Tensor at_four = at::floor(at::arange(12, at::kFloat) / 4).view({12, 1, 1, 1});
  const at::Tensor chunk = ramp(.1, .01) + .04 * at_four;
  SeamFade fade(0, 4, 4);
  const at::Tensor shown = shown_by(fade, chunk, true);
  for (int64_t i = 1; i < 4; ++i)
    EXPECT_NEAR(value(shown, i), .1 + .01 * i, 1e-6) << i;  // before the first border
  for (int64_t i = 4; i < 12; ++i) {
    const double step = value(shown, i) - value(shown, i - 1);
    EXPECT_GT(step, .01) << i;
    EXPECT_LT(step, .028) << i;  // the jumps were .05
  }
  EXPECT_NEAR(value(shown, 11), value(chunk, 11), .02);
}

TEST(SeamFade, EvenMotionHasNoBordersOfLatentFrames) {
  SeamFade fade(8, 4, 4);
  shown_by(fade, ramp(.1, .02), true);
  const at::Tensor next = ramp(.1 + 12 * .02, .02);
  EXPECT_TRUE(at::allclose(shown_by(fade, next, false), next, 0, 1e-6));
}

TEST(SeamFade, LatentFramesAreCountedFromTheEndOfAShorterChunk) {
  SeamFade fade(0, 4, 4);
  at::Tensor nine = at::zeros({9, 3, 48, 48});  // 1 + 4 + 4
  nine.narrow(0, 1, 8).fill_(.5);
  const at::Tensor shown = shown_by(fade, nine, true);
  EXPECT_NEAR(value(shown, 1), .1, 2e-3);
  EXPECT_NEAR(value(shown, 4), .4, 2e-3);
  EXPECT_NEAR(value(shown, 5), .42, 2e-3);  // the next border: a fifth of what is left of the step, .1
  EXPECT_NEAR(value(shown, 8), .48, 2e-3);
}

TEST(SeamFade, AFrameForEachLatentFrameHasNoStepsToHide) {
  SeamFade fade(0, 4, 1);
  at::Tensor jump = ramp(.2, 0);
  jump.narrow(0, 6, 6).fill_(.9);
  EXPECT_TRUE(at::equal(shown_by(fade, jump, true), jump));
}
