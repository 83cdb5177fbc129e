// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/vit_3d.h"

#include "base/process_end.h"

namespace flowcache {

namespace {

constexpr double eps = 1e-5;

// Normalises each head, without a learned scale. eps is added to the deviation, not under the root.
at::Tensor normalise_head(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kFloat);
  auto [deviation, mean] = at::std_mean(wide, at::IntArrayRef{-1}, /*unbiased=*/false, /*keepdim=*/true);
  at::Tensor out = at::empty_like(x);
  return at::div_out(out, wide - mean, deviation.add_(eps));
}

}  // namespace

Vit3d::Vit3d(const Shape& shape, Parameters& p, const std::string& prefix) : shape_(shape) {
  const int64_t dim = shape.dim, cells = shape.grid_frames * shape.grid_size * shape.grid_size;
  p.want(prefix + "cls_token", {1, 1, dim}, class_token_);
  p.want(prefix + "pos_embed", {1, cells + 1, dim}, positions_);
  p.want(prefix + "norm.weight", {dim}, norm_);
  p.want(prefix + "norm.bias", {dim}, norm_bias_);
  blocks_.resize(static_cast<size_t>(shape.depth));
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& b = blocks_[i];
    const std::string name = prefix + "blocks." + std::to_string(i) + ".";
    const auto linear = [&](const char* part, int64_t out, int64_t in, at::Tensor& weight, at::Tensor& bias) {
      p.want(name + part + ".weight", {out, in}, weight);
      p.want(name + part + ".bias", {out}, bias);
    };
    linear("attn.qkv", 3 * dim, dim, b.qkv, b.qkv_bias);
    linear("attn.proj", dim, dim, b.proj, b.proj_bias);
    p.want(name + "norm2.weight", {dim}, b.norm);
    p.want(name + "norm2.bias", {dim}, b.norm_bias);
    linear("mlp.fc1", shape.ffn, dim, b.fc1, b.fc1_bias);
    linear("mlp.fc2", dim, shape.ffn, b.fc2, b.fc2_bias);
  }
}

at::Tensor Vit3d::positions(int64_t frames, int64_t rows, int64_t columns) const {
  const at::Tensor grid = positions_.narrow(1, 1, positions_.size(1) - 1)
                              .view({1, shape_.grid_frames, shape_.grid_size, shape_.grid_size, shape_.dim})
                              .permute({0, 4, 1, 2, 3})
                              .to(at::kFloat);
  const at::Tensor resized = at::upsample_trilinear3d(grid, {frames, rows, columns}, /*align_corners=*/false);
  return at::cat(
             {positions_.narrow(1, 0, 1), resized.flatten(2).transpose(1, 2).to(positions_.scalar_type())}, 1)
      .squeeze(0);
}

at::Tensor Vit3d::attend(const Block& b, const at::Tensor& x) const {
  const int64_t n = x.size(0);
  const at::Tensor qkv = normalise_head(at::linear(x, b.qkv, b.qkv_bias).view({n, 3, shape_.heads, -1}));
  const auto part = [&](int64_t i) { return qkv.select(1, i).transpose(0, 1).unsqueeze(0); };
  const at::Tensor mixed = at::scaled_dot_product_attention(part(0), part(1), part(2));
  return at::linear(mixed.squeeze(0).transpose(0, 1).reshape({n, shape_.dim}), b.proj, b.proj_bias);
}

at::Tensor Vit3d::forward(const at::Tensor& cells) const {
  at::Tensor x = at::cat({class_token_.view({1, shape_.dim}), cells.reshape({-1, shape_.dim})});
  x = x + positions(cells.size(0), cells.size(1), cells.size(2));
  for (const Block& b : blocks_) {
    stop_at_process_end();
    x = x + attend(b, x);
    const at::Tensor y = at::layer_norm(x, {shape_.dim}, b.norm, b.norm_bias, eps);
    x = x + at::linear(at::gelu(at::linear(y, b.fc1, b.fc1_bias)), b.fc2, b.fc2_bias);
  }
  x = at::layer_norm(x, {shape_.dim}, norm_, norm_bias_, eps);
  return x.narrow(0, 1, x.size(0) - 1).view(cells.sizes());
}

}  // namespace flowcache
