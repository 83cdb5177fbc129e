// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/factory.h"

#include <functional>
#include <map>

#include "error.h"
#include "networks/decoders/taehv.h"
#include "networks/text/words.h"
#include "networks/wan.h"

namespace flowcache {
namespace {

using nlohmann::json;

template <typename Make>
using Table = std::map<std::string, std::function<Make>, std::less<>>;

template <typename Encoder>
std::unique_ptr<TextEncoder> make(const json& section, const WeightMap& weights, at::Device device) {
  return std::make_unique<Encoder>(section, weights, device);
}

const Table<std::unique_ptr<Transformer>(const json&, WeightMap, at::ScalarType, at::Device)> transformers = {
    {"wan", make_wan},
    {"wan-causal", make_wan},
};
const Table<std::unique_ptr<Decoder>(const json&, WeightMap, at::ScalarType, at::Device)> decoders = {
    {"taehv", make_taehv},
};
const Table<std::unique_ptr<TextEncoder>(const json&, WeightMap, at::Device)> text_encoders = {
    {"words", make<WordsEncoder>},
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

json config_of(const json& section) {
  return section.value("config", json::object());
}

}  // namespace

std::unique_ptr<Transformer> make_transformer(const ModelPackage& package, at::ScalarType compute,
                                              at::Device device) {
  const auto& make = choose(transformers, package.family, package, "family");
  return make(config_of(package.transformer), read_section(package, package.transformer), compute, device);
}

std::unique_ptr<Decoder> make_decoder(const ModelPackage& package, at::ScalarType compute,
                                      at::Device device) {
  const auto& make = choose(decoders, package.decoder.value("kind", ""), package, "decoder.kind");
  return make(config_of(package.decoder), read_section(package, package.decoder), compute, device);
}

std::unique_ptr<TextEncoder> make_text_encoder(const ModelPackage& package, at::Device device) {
  const auto& make = choose(text_encoders, package.text.value("kind", ""), package, "text.kind");
  return make(package.text, read_section(package, package.text), device);
}

}  // namespace flowcache
