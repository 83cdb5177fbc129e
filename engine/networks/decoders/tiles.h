// SPDX-License-Identifier: LGPL-2.1-or-later
// Runs a network that is too large for a whole clip on overlapping tiles of it.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace flowcache {

// Sizes of a tile in cells of the input, that is latent pixels for a decoder and pixels for an encoder.
struct Tiling {
  int64_t size = 32, overlap = 8, frames = 3;
  // True: tiles are blended with neighbours that have been blended themselves, as MAGI-1's encoder does.
  // False: with neighbours as the network gave them, as its decoder does.
  bool blend_in_place = false;
};

namespace tiles {

// Returns `tile` with its first `extent` rows of dimension `dim` faded in over the last ones of `before`.
inline at::Tensor blend(const at::Tensor& before, const at::Tensor& tile, int64_t extent, int64_t dim) {
  extent = std::min({extent, before.size(dim), tile.size(dim)});
  std::vector<int64_t> shape(static_cast<size_t>(tile.dim()), 1);
  shape[static_cast<size_t>(dim)] = extent;
  const at::Tensor weight = (at::arange(extent, tile.options()) / static_cast<double>(extent)).view(shape);
  const at::Tensor old = before.narrow(dim, before.size(dim) - extent, extent);
  const at::Tensor faded = old * (1 - weight) + tile.narrow(dim, 0, extent) * weight;
  return at::cat({faded, tile.narrow(dim, extent, tile.size(dim) - extent)}, dim);
}

}  // namespace tiles

// input [C, T, H, W]. Calls run() for tiles [C, t, h, w] of it; run() returns [C', t', h', w'], where h' is h
// and w' is w times out_per_in. Returns the tiles blended and joined to the whole clip.
template <typename Run>
at::Tensor run_tiled(const at::Tensor& input, const Tiling& tiling, double out_per_in, const Run& run) {
  const int64_t stride = tiling.size - tiling.overlap;
  const auto scaled = [out_per_in](int64_t cells) {
    return static_cast<int64_t>(static_cast<double>(cells) * out_per_in);
  };
  std::vector<at::Tensor> in_time;
  for (int64_t t = 0; t < input.size(1); t += tiling.frames) {
    std::vector<at::Tensor> above, rows;
    for (int64_t y = 0; y < input.size(2); y += stride) {
      std::vector<at::Tensor> row, cropped;
      for (int64_t x = 0; x < input.size(3); x += stride) {
        const at::Tensor raw = run(input.narrow(1, t, std::min(tiling.frames, input.size(1) - t))
                                       .narrow(2, y, std::min(tiling.size, input.size(2) - y))
                                       .narrow(3, x, std::min(tiling.size, input.size(3) - x)));
        at::Tensor tile = raw;
        if (!above.empty()) tile = tiles::blend(above[row.size()], tile, scaled(tiling.overlap), 2);
        if (!row.empty()) tile = tiles::blend(row.back(), tile, scaled(tiling.overlap), 3);
        row.push_back(tiling.blend_in_place ? tile : raw);
        cropped.push_back(tile.narrow(2, 0, std::min(scaled(stride), tile.size(2)))
                              .narrow(3, 0, std::min(scaled(stride), tile.size(3))));
      }
      rows.push_back(at::cat(cropped, 3));
      above = row;
    }
    in_time.push_back(at::cat(rows, 2));
  }
  return at::cat(in_time, 1);
}

}  // namespace flowcache
