// SPDX-License-Identifier: LGPL-2.1-or-later
// SkyReels-V2 with diffusion forcing: the Wan DiT with a timestep for each latent frame and, in the 1.3B
// checkpoint, an embedding of the frame rate. Keys are those of the published checkpoints.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "networks/matrix.h"
#include "networks/transformer.h"
#include "package/safetensors.h"

namespace flowcache {

// As make_wan(). config: the checkpoint's config.json. "inject_sample_info" says whether the frame rate is
// embedded, "fps" (default 24) names it; every value but 16 counts as 24. Buffers that the FlowCache fork
// saves among the weights are ignored.
std::unique_ptr<Transformer> make_skyreels(const nlohmann::json& config, WeightMap weights,
                                           Precision precision, at::Device device);

}  // namespace flowcache
