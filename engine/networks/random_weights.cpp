// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/random_weights.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

namespace flowcache {
namespace {

constexpr int64_t drawn = 1 << 20;  // values that are drawn; the rest of the buffer repeats them
constexpr int64_t shifts = 65521;   // tensors begin at different places, so that no two are equal
constexpr int64_t prompt_tokens = 64;

int64_t count(const WeightSpec& spec) {
  int64_t n = 1;
  for (const int64_t size : spec.shape) n *= std::max<int64_t>(1, size);
  return n;
}

class RandomText final : public TextEncoder {
 public:
  RandomText(int64_t rows, int64_t dim, at::Device device) : rows_(rows), dim_(dim), device_(device) {}
  TextFeatures encode(std::string_view prompt) const override {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(std::hash<std::string_view>{}(prompt));
    return {at::randn({rows_, dim_}, generator, at::TensorOptions().dtype(at::kFloat)).to(device_), {}};
  }

 private:
  int64_t rows_, dim_;
  at::Device device_;
};

}  // namespace

std::vector<WeightSpec> wanted_by(const std::function<void(WeightMap)>& build) {
  try {
    build({});
  } catch (const UnfitWeights& unfit) {
    return unfit.wanted();
  }
  return {};
}

WeightMap random_weights(const std::vector<WeightSpec>& wanted) {
  int64_t largest = 1;
  for (const WeightSpec& spec : wanted) largest = std::max(largest, count(spec));
  auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const at::Tensor block =
      (at::randn({drawn}, generator, at::TensorOptions().dtype(at::kFloat)) * 0.02).to(at::kBFloat16);
  const at::Tensor buffer = block.repeat({(largest + shifts + drawn - 1) / drawn});
  WeightMap weights;
  int64_t start = 0;
  for (const WeightSpec& spec : wanted) {
    if (spec.optional) continue;
    std::vector<int64_t> shape = spec.shape;
    for (int64_t& size : shape) size = std::max<int64_t>(1, size);
    weights.emplace(spec.name, buffer.narrow(0, start, count(spec)).view(shape));
    start = (start + 7919) % shifts;
  }
  return weights;
}

int64_t bytes_of(const std::vector<WeightSpec>& wanted) {
  int64_t values = 0;
  for (const WeightSpec& spec : wanted) values += spec.optional ? 0 : count(spec);
  return 2 * values;
}

std::unique_ptr<TextEncoder> make_random_text(const ModelPackage& package, at::Device device) {
  const nlohmann::json config = package.transformer.value("config", nlohmann::json::object());
  const nlohmann::json model = config.value("model_config", config);
  const int64_t dim = config.value("text_dim", model.value("caption_channels", int64_t{4096}));
  const int64_t most = config.value("text_len", model.value("caption_max_length", prompt_tokens));
  return std::make_unique<RandomText>(std::min(prompt_tokens, most), dim, device);
}

}  // namespace flowcache
