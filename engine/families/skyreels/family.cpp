// SPDX-License-Identifier: LGPL-2.1-or-later
// SkyReels-V2. Frames that a video continues stay in the latent, with a little noise and the timestep of that
// noise.
#include "families/family.h"

#include "families/skyreels/skyreels.h"
#include "families/wan/wan.h"
#include "package/fields.h"

namespace flowcache {
namespace {

constexpr double published_noise = 20;  // timestep, 0..1000: --addnoise_condition of the published scripts

class SkyReelsFamily final : public Family {
 public:
  std::unique_ptr<Transformer> make_transformer(const nlohmann::json& config, WeightMap weights,
                                                Precision precision, at::Device device) const override {
    return make_skyreels(config, std::move(weights), precision, device);
  }
  const char* telling_key() const override { return "patch_embedding.weight"; }
  std::vector<double> time_frequencies(int64_t head_dim) const override {
    return rope_time_frequencies(head_dim);
  }
  std::vector<std::string> sampler_fields() const override { return {"prefix_noise"}; }
  InitialFramesRule initial_frames(const ModelPackage& package) const override {
    const Fields sampler(package.sampler, (package.folder / "model.json").string(), "sampler");
    return {.part_of_chunk = true,
            .own_timesteps = true,
            .noise = sampler.number("prefix_noise", 0, 1000, published_noise)};
  }
};

}  // namespace

const Family& skyreels_family() {
  static const SkyReelsFamily family;
  return family;
}

}  // namespace flowcache
