// SPDX-License-Identifier: LGPL-2.1-or-later
// Wan 2.1 as published, and its causal form. Frames that a video continues must fill whole chunks, because
// the causal models were trained with one timestep for a chunk.
#include "families/family.h"

#include "families/wan/wan.h"

namespace flowcache {
namespace {

class WanFamily final : public Family {
 public:
  std::unique_ptr<Transformer> make_transformer(const nlohmann::json& config, WeightMap weights,
                                                Precision precision, at::Device device) const override {
    return make_wan(config, std::move(weights), precision, device);
  }
  const char* telling_key() const override { return "patch_embedding.weight"; }
};

}  // namespace

const Family& wan_family() {
  static const WanFamily family;
  return family;
}

}  // namespace flowcache
