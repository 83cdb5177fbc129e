// SPDX-License-Identifier: LGPL-2.1-or-later
// The Wan 2.1 DiT for text to video, as published and in its causal form (CausVid, Self-Forcing). The two
// differ only in the KvView that they are run with.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "networks/matrix.h"
#include "networks/transformer.h"
#include "package/safetensors.h"

namespace flowcache {

// config: the checkpoint's config.json. weights: the checkpoint's tensors by key, of any floating type; they
// are copied to `device`. precision.compute: fp32 or bf16, for matrix products, keys and values.
// precision.weights: the same type, or fp8 or int8, for the matrices of the blocks. The tokens, norms, modulation,
// embeddings and the head are always fp32; a chunk's tokens are [L, dim]. On the CPU blocks() splits the rows
// over the calling thread's at::parallel_for threads; results are bit-identical for the same number of
// threads. On other devices attention is scaled_dot_product_attention. Throws FC_ERROR_MODEL for a field that
// is out of range, for a variant that is not supported, and for keys that do not fit (all are listed).
std::unique_ptr<Transformer> make_wan(const nlohmann::json& config, WeightMap weights, Precision precision,
                                      at::Device device);

// The sinusoidal embedding of timesteps: [n] -> [n, dim] fp32, [cos | sin] of t * 10000^(-j / (dim / 2)), in
// double.
at::Tensor sinusoid(std::span<const double> timesteps, int64_t dim);

// cos and sin of RoPE's angles, each [tokens, head_dim / 2] fp32 on `device`. The n pairs of a head are
// divided into n - 2 (n / 3) for time, n / 3 for rows and n / 3 for columns. Angles are computed in double.
// spatial_scale is the distance of neighbouring rows and columns. Below 1, a larger picture has the positions
// of the one that the network was trained on (position interpolation, arXiv 2306.15595).
struct RopeTable {
  at::Tensor cos, sin;
};
// Radians for each latent frame, of each time pair; these pairs come first in a head. See
// TransformerShape.time_frequencies.
std::vector<double> rope_time_frequencies(int64_t head_dim);
RopeTable rope_table(const Grid& grid, int64_t first_frame, int64_t head_dim, at::Device device,
                     double spatial_scale = 1);

}  // namespace flowcache
