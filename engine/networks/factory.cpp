// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/factory.h"

#include <functional>
#include <map>

#include "error.h"
#include "networks/decoders/magi_vae.h"
#include "networks/decoders/taehv.h"
#include "networks/decoders/wan_vae.h"
#include "networks/lora.h"
#include "networks/magi.h"
#include "networks/skyreels.h"
#include "networks/text/t5_text_encoder.h"
#include "networks/text/words.h"
#include "networks/wan.h"
#include "package/fields.h"

namespace flowcache {
namespace {

using nlohmann::json;

template <typename Make>
using Table = std::map<std::string, std::function<Make>, std::less<>>;

std::unique_ptr<TextEncoder> make_words(const ModelPackage& package, at::Device device) {
  return std::make_unique<WordsEncoder>(package.text, read_section(package, package.text), device);
}
std::unique_ptr<TextEncoder> make_t5(const ModelPackage& package, at::Device device) {
  return std::make_unique<T5TextEncoder>(package, device);
}
std::unique_ptr<Transformer> make_magi(const json& config, WeightMap weights, at::ScalarType compute,
                                       at::Device device) {
  return std::make_unique<MagiTransformer>(MagiConfig::from_json(config), weights, compute, device,
                                           "magi transformer");
}
std::unique_ptr<Decoder> make_magi_vae(const json& config, WeightMap weights, at::ScalarType compute,
                                       at::Device device) {
  return std::make_unique<MagiVaeDecoder>(MagiVaeConfig::from_json(config), weights, compute, device,
                                          "magi_vae decoder");
}
std::unique_ptr<Decoder> make_wan_vae(const json& config, WeightMap weights, at::ScalarType compute,
                                      at::Device device) {
  return std::make_unique<WanVaeDecoder>(WanVaeConfig::from_json(config), weights, compute, device,
                                         "wan_vae decoder");
}

const Table<std::unique_ptr<Transformer>(const json&, WeightMap, at::ScalarType, at::Device)> transformers = {
    {"magi", make_magi},
    {"skyreels", make_skyreels},
    {"wan", make_wan},
    {"wan-causal", make_wan},
};
const Table<std::unique_ptr<Decoder>(const json&, WeightMap, at::ScalarType, at::Device)> decoders = {
    {"magi_vae", make_magi_vae},
    {"taehv", make_taehv},
    {"wan_vae", make_wan_vae},
};
const Table<std::unique_ptr<TextEncoder>(const ModelPackage&, at::Device)> text_encoders = {
    {"t5", make_t5},
    {"umt5", make_t5},
    {"words", make_words},
};

template <typename T>
const auto& choose(const T& table, const std::string& name, const ModelPackage& package, const char* field) {
  const auto found = table.find(name);
  if (found != table.end()) return found->second;
  std::string known;
  for (const auto& [one, make] : table) known += (known.empty() ? "" : ", ") + one;
  throw Error(FC_ERROR_MODEL, (package.folder / "model.json").string() + ": " + field + " is \"" + name +
                                  "\"; this build knows " + known);
}

// The transformer's weights, with what its "loras": [{file, scale}] add.
WeightMap with_loras(const ModelPackage& package) {
  WeightMap weights = read_section(package, package.transformer);
  const std::string file = (package.folder / "model.json").string();
  for (const json& lora : package.transformer.value("loras", json::array())) {
    const double scale = Fields(lora, file, "transformer.loras").number("scale", -10, 10, 1.0);
    weights = merge_lora(weights, read_section(package, lora), scale, "a LoRA of " + file);
  }
  return weights;
}

json config_of(const json& section) {
  return section.value("config", json::object());
}

}  // namespace

std::unique_ptr<Transformer> make_transformer(const ModelPackage& package, at::ScalarType compute,
                                              at::Device device) {
  const auto& make = choose(transformers, package.family, package, "family");
  return make(config_of(package.transformer), with_loras(package), compute, device);
}

std::unique_ptr<Decoder> make_decoder(const ModelPackage& package, at::ScalarType compute,
                                      at::Device device) {
  const auto& make = choose(decoders, package.decoder.value("kind", ""), package, "decoder.kind");
  return make(config_of(package.decoder), read_section(package, package.decoder), compute, device);
}

std::unique_ptr<TextEncoder> make_text_encoder(const ModelPackage& package, at::Device device) {
  const auto& make = choose(text_encoders, package.text.value("kind", ""), package, "text.kind");
  return make(package, device);
}

}  // namespace flowcache
