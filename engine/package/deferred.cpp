// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/deferred.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace flowcache {
namespace {

// How a weight is made travels with its stand-in, in the place that LibTorch has for what a backend adds to a tensor.
struct Recipe final : c10::BackendMeta {
  explicit Recipe(MakeWeight function) : make(std::move(function)) {}
  MakeWeight make;
};

constexpr int64_t slice_values = 4 << 20;  // values that are computed at once in fp32

}  // namespace

at::Tensor deferred(at::IntArrayRef shape, at::ScalarType type, MakeWeight make) {
  at::Tensor stand_in = at::empty(shape, at::TensorOptions(type).device(at::kMeta));
  stand_in.unsafeGetTensorImpl()->set_backend_meta(c10::make_intrusive<Recipe>(std::move(make)));
  return stand_in;
}

at::Tensor dense(const at::Tensor& weight, at::ScalarType type) {
  if (!weight.is_meta()) return weight;
  const auto* recipe = dynamic_cast<const Recipe*>(weight.unsafeGetTensorImpl()->get_backend_meta());
  if (!recipe) throw Error(FC_ERROR_INTERNAL, "a weight stands for nothing");
  return recipe->make(type);
}

at::Tensor taken(WeightMap& weights, const std::string& name, at::ScalarType type) {
  const auto node = weights.extract(name);
  if (node.empty())
    throw Error(FC_ERROR_INTERNAL, "the weight " + name + " is taken twice, or was never there");
  return dense(node.mapped(), type);
}

at::Tensor scaled_weight(const at::Tensor& stored, const at::Tensor& scale, at::IntArrayRef shape) {
  return deferred(shape, at::kFloat, [stored, scale, shape = shape.vec()](at::ScalarType type) {
    at::Tensor all = at::empty(stored.sizes(), at::TensorOptions(type));
    if (all.numel() == 0) return all.view(shape);
    const int64_t rows = stored.dim() == 0 ? 1 : stored.size(0);
    const int64_t slice = std::max<int64_t>(1, slice_values / std::max<int64_t>(1, stored.numel() / rows));
    const bool by_row = scale.dim() == stored.dim() && scale.dim() > 0 && scale.size(0) == rows && rows > 1;
    const auto part = [&](const at::Tensor& whole, int64_t first, int64_t count) {
      return whole.dim() == 0 ? whole : whole.narrow(0, first, count);
    };
    for (int64_t i = 0; i < rows; i += slice) {
      const int64_t count = std::min(slice, rows - i);
      const at::Tensor some = by_row ? part(scale, i, count) : scale;
      part(all, i, count).copy_(part(stored, i, count).to(at::kFloat).mul_(some.to(at::kFloat)));
    }
    return all.view(shape);
  });
}

}  // namespace flowcache
