// SPDX-License-Identifier: LGPL-2.1-or-later
// The fake engine's picture: three bands. The first shows 16 bits of the frame's number as white and black
// blocks, the second 16 bits of the prompt's hash, the third one colour that depends on the seed, or the
// number again: no part of a picture passes for one of another frame then. Blocks survive an encoder. A frame that repaints
// what it was fed shows that one's first byte as grey in the third band, and with planes of chroma their first bytes, too.
#pragma once

#include <array>
#include <cstdint>

#include "flowcache.h"

namespace fake {

// The first pixel of a frame that was fed; -1: none.
struct FedPixel {
  int level = -1;      // luma, or red
  int u = -1, v = -1;  // as they are; only of YUV
};

struct Picture {
  uint32_t width, height;
  uint32_t number;  // of the frame since the start of the stream
  uint32_t hash;    // of the prompt
  uint64_t seed;
  bool twice = false;  // the number in the third band too
  FedPixel fed = {};   // of the frame that it repaints

  // Red, green, blue of a pixel.
  std::array<uint8_t, 3> pixel(uint32_t x, uint32_t y) const;
};

// BT.709, limited range.
std::array<uint8_t, 3> yuv_of(const std::array<uint8_t, 3>& rgb);
// The colour of the third band.
std::array<uint8_t, 3> seed_colour(uint64_t seed);

void paint(const Picture& picture, const fc_planes& planes);

}  // namespace fake
