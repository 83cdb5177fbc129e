// SPDX-License-Identifier: LGPL-2.1-or-later
// Wan as published, and its causal forms. Frames that a video continues must fill whole chunks, because the causal models
// were trained with one timestep for a chunk. So a frame-wise model continues an image (Causal-Forcing's image to video). A
// chunk-wise one does if it was trained for it: the image is then the first frame of chunk 0, always clean, at timestep 0
// (LongLive-2.0).
#include "families/family.h"

#include "families/wan/wan.h"
#include "package/fields.h"

namespace flowcache {
namespace {

class WanFamily final : public Family {
 public:
  std::unique_ptr<Transformer> make_transformer(const nlohmann::json& config, WeightMap weights,
                                                Precision precision, at::Device device) const override {
    return make_wan(config, std::move(weights), precision, device);
  }
  const char* telling_key() const override { return "patch_embedding.weight"; }
  std::vector<std::string> sampler_fields() const override { return {"image"}; }
  InitialFramesRule initial_frames(const ModelPackage& package) const override {
    const Fields sampler(package.sampler, (package.folder / "model.json").string(), "sampler");
    const std::string image = sampler.string("image", 63, "whole_chunks");
    if (image == "whole_chunks") return {};
    if (image != "first_frame") sampler.fail("image", "first_frame or whole_chunks");
    return {.part_of_chunk = true, .image_only = true, .own_timesteps = true};
  }
  std::vector<double> time_frequencies(int64_t head_dim) const override {
    return rope_time_frequencies(head_dim);
  }
};

}  // namespace

const Family& wan_family() {
  static const WanFamily family;
  return family;
}

}  // namespace flowcache
