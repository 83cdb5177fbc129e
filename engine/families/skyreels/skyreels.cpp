// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/skyreels/skyreels.h"

#include "base/error.h"
#include "families/wan/config.h"
#include "families/wan/wan.h"
#include "package/deferred.h"

namespace flowcache {
namespace {

// Adds the embedding of the frame rate to the modulation. Everything else is the Wan transformer.
class SkyReels final : public Transformer {
 public:
  // fps: what the network is told; 0: nothing.
  SkyReels(std::unique_ptr<Transformer> wan, at::Tensor frame_rate, int64_t fps, at::Device device)
      : wan_(std::move(wan)), frame_rate_(std::move(frame_rate)), fps_(fps), device_(device) {}

  const TransformerShape& shape() const override { return wan_->shape(); }
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override {
    return wan_->condition(features);
  }
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps,
                 int64_t first_frame) const override {
    Embedded embedded = wan_->embed(latent, timesteps, first_frame);
    if (frame_rate_.defined()) embedded.modulation = embedded.modulation + frame_rate_;
    return embedded;
  }
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override {
    return wan_->blocks(embedded, std::move(tokens), condition, kv, first, last);
  }
  at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const override {
    return wan_->head(embedded, tokens);
  }
  void slice_tokens(int64_t most) override { wan_->slice_tokens(most); }
  void add_joined(std::set<std::string>& touched) const override { wan_->add_joined(touched); }
  std::unique_ptr<Transformer> with_weights(const WeightMap& weights,
                                            const std::set<std::string>& touched) const override;

 private:
  std::unique_ptr<Transformer> wan_;
  at::Tensor frame_rate_;  // [1, 6, dim] fp32
  int64_t fps_;
  at::Device device_;
};

// True for the KV buffers of the FlowCache fork, which end up in saved weights because they are module
// buffers.
bool is_buffer(const std::string& key) {
  return key.ends_with("_cache_even") || key.ends_with("_cache_odd");
}

std::vector<WeightSpec> frame_rate_keys(int64_t dim) {
  return {{"fps_embedding.weight", {2, dim}},
          {"fps_projection.0.weight", {dim, dim}},
          {"fps_projection.0.bias", {dim}},
          {"fps_projection.2.weight", {6 * dim, dim}},
          {"fps_projection.2.bias", {6 * dim}}};
}

at::Tensor embed_frame_rate(const WeightMap& weights, int64_t dim, int64_t fps, at::Device device) {
  const auto read = [&](const char* name) { return dense(weights.at(name)).to(device, at::kFloat); };
  const at::Tensor one = read("fps_embedding.weight").select(0, fps == 16 ? 0 : 1);
  const at::Tensor hidden =
      at::silu(at::linear(one, read("fps_projection.0.weight"), read("fps_projection.0.bias")));
  return at::linear(hidden, read("fps_projection.2.weight"), read("fps_projection.2.bias")).view({1, 6, dim});
}

// Takes the weights of the frame rate out of `weights`.
WeightMap taken_rate(WeightMap& weights) {
  WeightMap rate;
  for (auto it = weights.begin(); it != weights.end();) {
    const bool own = it->first.starts_with("fps_");
    if (own) rate.insert(*it);
    it = own ? weights.erase(it) : std::next(it);
  }
  return rate;
}

std::unique_ptr<Transformer> SkyReels::with_weights(const WeightMap& weights,
                                                    const std::set<std::string>& touched) const {
  WeightMap rest = weights;
  std::erase_if(rest, [](const auto& entry) { return is_buffer(entry.first); });
  const WeightMap rate = fps_ ? taken_rate(rest) : WeightMap();
  return std::make_unique<SkyReels>(wan_->with_weights(rest, touched),
                                    fps_ ? embed_frame_rate(rate, shape().dim, fps_, device_) : at::Tensor(),
                                    fps_, device_);
}

}  // namespace

std::unique_ptr<Transformer> make_skyreels(const nlohmann::json& config, WeightMap weights,
                                           Precision precision, at::Device device) {
  nlohmann::json wan_config = config;
  bool with_rate = false;
  int64_t fps = 24;
  try {
    with_rate = config.value("inject_sample_info", false);
    fps = config.value("fps", int64_t{24});
  } catch (const nlohmann::json::exception& error) {
    throw Error(FC_ERROR_MODEL, std::string("skyreels transformer: config: ") + error.what());
  }
  wan_config["inject_sample_info"] = false;
  std::erase_if(weights, [](const auto& entry) { return is_buffer(entry.first); });
  std::vector<WeightSpec> wanted = wan::Config::from_json(wan_config).weights();
  if (with_rate) {
    const auto rate_keys = frame_rate_keys(wan_config.at("dim").get<int64_t>());
    wanted.insert(wanted.end(), rate_keys.begin(), rate_keys.end());
  }
  check_weights(weights, wanted, "skyreels transformer");
  const WeightMap rate = with_rate ? taken_rate(weights) : WeightMap();
  auto wan = make_wan(wan_config, std::move(weights), precision, device);
  const int64_t dim = wan->shape().dim;
  return std::make_unique<SkyReels>(std::move(wan),
                                    with_rate ? embed_frame_rate(rate, dim, fps, device) : at::Tensor(),
                                    with_rate ? fps : 0, device);
}

}  // namespace flowcache
