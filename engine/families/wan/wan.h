// SPDX-License-Identifier: LGPL-2.1-or-later
// The Wan 2.1 DiT: text to video, as published and in its causal form (CausVid, Self-Forcing), which differ
// only in the KvView they are run with.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "networks/matrix.h"
#include "networks/transformer.h"
#include "package/safetensors.h"

namespace flowcache {

// config: the checkpoint's config.json. weights: the checkpoint's keys, any floating type; copied to
// `device`. precision.compute: fp32 or bf16, of matrix products, keys and values; precision.weights: the same
// or fp8, of what the blocks multiply with. Whatever it is, the running tokens, norms, modulation, embeddings
// and head are fp32; a chunk's tokens are [L, dim] fp32. On the CPU blocks() splits the rows over the calling
// thread's at::parallel_for threads: bit-identical results for the same number of threads. Attends with
// scaled_dot_product_attention elsewhere. Throws FC_ERROR_MODEL: a config field out of range or a variant
// that is not built, and all keys that do not fit.
std::unique_ptr<Transformer> make_wan(const nlohmann::json& config, WeightMap weights, Precision precision,
                                      at::Device device);

// Sinusoid of timesteps: [n] -> [n, dim] fp32, [cos | sin] of t * 10000^(-j / (dim / 2)), computed in double.
at::Tensor sinusoid(std::span<const double> timesteps, int64_t dim);

// cos and sin of RoPE's angles, each [tokens, head_dim / 2] fp32 on `device`. The pairs of a head are split
// over time, rows and columns, n - 2 (n / 3), n / 3 and n / 3 of them; angles are computed in double. Rows and
// columns count spatial_scale each: below 1, a larger picture lies at the positions of the one that the network
// was trained on (position interpolation, arXiv 2306.15595).
struct RopeTable {
  at::Tensor cos, sin;
};
// Radians a latent frame of each time pair, which lead the head: see TransformerShape.time_frequencies.
std::vector<double> rope_time_frequencies(int64_t head_dim);
RopeTable rope_table(const Grid& grid, int64_t first_frame, int64_t head_dim, at::Device device,
                     double spatial_scale = 1);

}  // namespace flowcache
