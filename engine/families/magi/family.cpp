// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1. Guidance has scales of its own, guided models keep two sets of keys and values, and captions are
// cleaned. Frames that a video continues are pasted over the latent, clean; the latent itself is then changed
// by the steps, as published.
#include "families/family.h"

#include "base/error.h"
#include "base/words.h"
#include "families/magi/magi_stream.h"
#include "families/magi/prompt_cleaning.h"

namespace flowcache {
namespace {

class MagiFamily final : public Family {
 public:
  std::unique_ptr<Transformer> make_transformer(const nlohmann::json& config, WeightMap weights,
                                                Precision precision, at::Device device) const override {
    return make_magi(config, std::move(weights), precision, device);
  }
  const char* telling_key() const override { return "x_embedder.weight"; }
  std::string clean_prompt(std::string_view prompt) const override { return clean_magi_prompt(prompt); }
  std::vector<std::string> sampler_fields() const override { return {"shortcut"}; }
  int key_value_sets(const nlohmann::json& config) const override {
    const nlohmann::json runtime = config.value("runtime_config", nlohmann::json::object());
    return runtime.is_object() && runtime.value("cfg_number", nlohmann::json(1)) == 3 ? 2 : 1;
  }
  void check_guidance(double scale) const override {
    if (scale == 1) return;
    throw Error(
        FC_ERROR_ARGUMENT,
        "guidance_scale=" + number(scale) +
            ": MAGI-1 is guided by the text_scales and prev_chunk_scales of its config (base models) or "
            "not at all (distilled): leave guidance_scale at 1");
  }
  InitialFramesRule initial_frames(const ModelPackage&) const override { return {.part_of_chunk = true}; }
};

}  // namespace

const Family& magi_family() {
  static const MagiFamily family;
  return family;
}

}  // namespace flowcache
