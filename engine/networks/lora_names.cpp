// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/lora_names.h"

#include <algorithm>
#include <utility>

namespace flowcache {
namespace {

// Words that may stand in front of a name, in any order and number. Here and below "_" stands for ".".
constexpr std::string_view prefixes[] = {"base_model_model_",
                                         "diffusion_model_",
                                         "lora_transformer_",
                                         "lora_unet_",
                                         "lycoris_",
                                         "module_",
                                         "transformer_",
                                         "model_",
                                         "pipe_",
                                         "dit_",
                                         "unet_",
                                         "_"};
// Words that FSDP, activation checkpointing and torch.compile put anywhere into a name.
constexpr std::string_view wrappers[] = {"_fsdp_wrapped_module_", "_checkpoint_wrapped_module_",
                                         "_orig_mod_"};

// Wan's own names, and those of diffusers for the same layers.
constexpr std::pair<std::string_view, std::string_view> diffusers[] = {
    {"_self_attn_o", "_attn1_to_out_0"},
    {"_self_attn_q", "_attn1_to_q"},
    {"_self_attn_k", "_attn1_to_k"},
    {"_self_attn_v", "_attn1_to_v"},
    {"_cross_attn_o", "_attn2_to_out_0"},
    {"_cross_attn_q", "_attn2_to_q"},
    {"_cross_attn_k", "_attn2_to_k"},
    {"_cross_attn_v", "_attn2_to_v"},
    {"_self_attn_norm_", "_attn1_norm_"},
    {"_cross_attn_norm_", "_attn2_norm_"},
    {"_ffn_0", "_ffn_net_0_proj"},
    {"_ffn_2", "_ffn_net_2"},
    {"_norm3", "_norm2"},
    {"time_embedding_0", "condition_embedder_time_embedder_linear_1"},
    {"time_embedding_2", "condition_embedder_time_embedder_linear_2"},
    {"text_embedding_0", "condition_embedder_text_embedder_linear_1"},
    {"text_embedding_2", "condition_embedder_text_embedder_linear_2"},
    {"time_projection_1", "condition_embedder_time_proj"},
    {"head_head", "proj_out"},
};

std::string flat(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
}

}  // namespace

LayerNames::LayerNames(const WeightMap& weights) {
  for (const auto& [key, tensor] : weights)
    for (const std::string_view part : {".weight", ".bias", ".modulation"}) {
      if (!key.ends_with(part)) continue;
      const std::string layer = key.substr(0, key.size() - part.size()), own = flat(layer);
      add(own, layer);
      for (const auto& [ours, theirs] : diffusers) {
        const size_t at = own.find(ours);
        if (at == std::string::npos) continue;
        add(std::string(own).replace(at, ours.size(), theirs), layer);
        break;
      }
    }
}

void LayerNames::add(const std::string& spelling, const std::string& layer) {
  const auto [place, is_new] = layers_.emplace(spelling, layer);
  if (!is_new && place->second != layer) place->second.clear();
}

std::string LayerNames::find(std::string_view spelled) const {
  std::string name = flat(spelled);
  for (const std::string_view wrapper : wrappers)
    for (size_t at = 0; (at = name.find(wrapper)) != std::string::npos;) name.erase(at, wrapper.size());
  while (true) {
    if (const auto found = layers_.find(name); found != layers_.end()) return found->second;
    const auto prefix = std::find_if(std::begin(prefixes), std::end(prefixes),
                                     [&](std::string_view one) { return name.starts_with(one); });
    if (prefix == std::end(prefixes)) return "";
    name.erase(0, prefix->size());
  }
}

}  // namespace flowcache
