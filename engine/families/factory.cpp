// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/factory.h"

#include <algorithm>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/resources.h"
#include "families/family.h"
#include "networks/decoders/magi_vae.h"
#include "networks/decoders/pca_encoder.h"
#include "networks/decoders/taehv.h"
#include "networks/decoders/taehv_encoder.h"
#include "networks/decoders/wan_vae.h"
#include "networks/lora.h"
#include "networks/random_weights.h"
#include "networks/text/t5_text_encoder.h"
#include "networks/text/words.h"
#include "package/deferred.h"
#include "package/fields.h"
#include "package/files.h"
#include "package/published_names.h"

namespace flowcache {
namespace {

using nlohmann::json;

template <typename Make>
using Table = std::map<std::string, std::function<Make>, std::less<>>;

std::unique_ptr<TextEncoder> make_words(const ModelPackage& package, at::Device device) {
  return std::make_unique<WordsEncoder>(package.text, read_section(package, package.text), device);
}
std::unique_ptr<TextEncoder> make_t5(const ModelPackage& package, at::Device device) {
  const Family& family = family_of(package);
  return std::make_unique<T5TextEncoder>(
      package, device, [&family](std::string_view prompt) { return family.clean_prompt(prompt); });
}
std::unique_ptr<Decoder> make_magi_vae(const json& config, WeightMap weights, at::ScalarType compute,
                                       at::Device device) {
  return std::make_unique<MagiVaeDecoder>(MagiVaeConfig::from_json(config), weights, compute, device,
                                          "magi_vae decoder");
}
template <typename Config>
std::unique_ptr<Decoder> make_wan_vae(const json& config, WeightMap weights, at::ScalarType compute,
                                      at::Device device) {
  const WanVaeConfig own = Config::from_json(config);
  return std::make_unique<WanVaeDecoder>(own, weights, compute, device, std::string(own.kind()) + " decoder");
}

template <typename Encoder, typename Config>
std::unique_ptr<FrameEncoder> make_encoder(const json& config, const WeightMap& weights,
                                           at::ScalarType compute, at::Device device) {
  return std::make_unique<Encoder>(Config::from_json(config), weights, compute, device, "frame encoder");
}

const Table<std::unique_ptr<FrameEncoder>(const json&, const WeightMap&, at::ScalarType, at::Device)>
    encoders = {
        {"magi_vae", make_encoder<MagiVaeEncoder, MagiVaeConfig>},
        {"pca", make_encoder<PcaEncoder, PcaEncoderConfig>},
        {"taehv", make_encoder<TaehvEncoder, TaehvEncoderConfig>},
        {"wan22_vae", make_encoder<WanVaeEncoder, Wan22VaeConfig>},
        {"wan_vae", make_encoder<WanVaeEncoder, WanVaeConfig>},
};
const Table<std::unique_ptr<Decoder>(const json&, WeightMap, at::ScalarType, at::Device)> decoders = {
    {"magi_vae", make_magi_vae},
    {"taehv", make_taehv},
    {"wan22_vae", make_wan_vae<Wan22VaeConfig>},
    {"wan_vae", make_wan_vae<WanVaeConfig>},
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

// The weights with the LoRAs of "loras": [{file, scale}] merged.
WeightMap with_loras(const ModelPackage& package, WeightMap weights) {
  const std::string file = (package.folder / "model.json").string();
  for (const json& lora : package.transformer.value("loras", json::array())) {
    const Fields fields(lora, file, "transformer.loras");
    fields.only({"file", "files", "key", "scale"});
    const double scale = fields.number("scale", -10, 10, 1.0);
    weights = merge_lora(weights, read_section(package, lora), scale, "a LoRA of " + file);
  }
  return weights;
}

json config_of(const json& section) {
  return section.value("config", json::object());
}

// The weights of a section under the names that its network has.
WeightMap read_as_wanted(const ModelPackage& package, const char* section, const json& fields,
                         const std::vector<WeightSpec>& wanted, std::span<const Naming> namings) {
  const std::string what = std::string(section) + " of " + (package.folder / "model.json").string();
  return renamed(read_section(package, fields), wanted, namings, what);
}

WeightMap read_decoder(const ModelPackage& package, const std::vector<WeightSpec>& wanted) {
  WeightMap weights = read_as_wanted(package, "decoder", package.decoder, wanted, decoder_namings());
  for (auto& [name, weight] : weights) weight = dense(weight);  // decoders are small
  return weights;
}

// Refuses weights of another family. A list of all keys that do not fit would be too long to be of use.
void check_family(const ModelPackage& package, const WeightMap& weights) {
  const std::string file = (package.folder / "model.json").string();
  const std::string own = family_of(package).telling_key();
  const KeyMatch other = families_with_keys(weights);
  if (!weights.contains(own) && !other.key.empty())
    throw Error(FC_ERROR_MODEL, file + ": family is \"" + package.family +
                                    "\", but the transformer's files have " + other.key + " and no " + own +
                                    ": they belong to family " + other.families +
                                    "; correct family and config, or the files");
  if (weights.contains("img_emb.proj.1.weight"))
    throw Error(FC_ERROR_MODEL, file +
                                    ": the transformer's files have img_emb.proj.1.weight: an image-to-video "
                                    "checkpoint, which is not supported; take the text-to-video one");
}

}  // namespace

WeightMap transformer_weights(const ModelPackage& package) {
  const std::vector<WeightSpec> wanted = wanted_by([&](WeightMap none) {
    family_of(package).make_transformer(config_of(package.transformer), std::move(none), at::kBFloat16,
                                        at::kCPU);
  });
  if (package.random_weights) return random_weights(wanted);
  WeightMap weights =
      read_as_wanted(package, "transformer", package.transformer, wanted, transformer_namings());
  check_family(package, weights);
  return with_loras(package, std::move(weights));
}

std::unique_ptr<Transformer> make_transformer(const ModelPackage& package, Precision precision,
                                              at::Device device) {
  auto transformer = family_of(package).make_transformer(config_of(package.transformer),
                                                         transformer_weights(package), precision, device);
  return_freed_memory();
  return transformer;
}

std::unique_ptr<Decoder> make_decoder(const ModelPackage& package, at::ScalarType compute,
                                      at::Device device) {
  const auto& make = choose(decoders, package.decoder.value("kind", ""), package, "decoder.kind");
  const auto build = [&](WeightMap weights) {
    return make(config_of(package.decoder), std::move(weights), compute, device);
  };
  const std::vector<WeightSpec> wanted = wanted_by(build);
  return build(package.random_weights ? random_weights(wanted) : read_decoder(package, wanted));
}

std::unique_ptr<FrameEncoder> make_frame_encoder(const ModelPackage& package, at::ScalarType compute,
                                                 at::Device device) {
  const bool apart = package.encoder.is_object();
  const json& section = apart ? package.encoder : package.decoder;
  const auto& make =
      choose(encoders, section.value("kind", ""), package, apart ? "encoder.kind" : "decoder.kind");
  const auto build = [&](const WeightMap& weights) {
    return make(config_of(section), weights, compute, device);
  };
  if (package.random_weights) return build(random_weights(wanted_by(build)));
  if (apart) {
    WeightMap weights = read_section(package, section);
    for (auto& [name, weight] : weights) weight = dense(weight);
    return build(weights);
  }
  const WeightMap weights = read_decoder(package, wanted_by(build));
  const auto encodes = [](const auto& entry) { return entry.first.starts_with("encoder."); };
  if (std::none_of(weights.begin(), weights.end(), encodes))
    throw Error(FC_ERROR_MODEL, (package.folder / "model.json").string() +
                                    ": the decoder's files hold no encoder, so this model cannot take a "
                                    "prefix or a live picture: use "
                                    "the VAE's whole file");
  return build(weights);
}

std::unique_ptr<TextEncoder> make_text_encoder(const ModelPackage& package, at::Device device) {
  if (package.random_weights) return make_random_text(package, device);
  const auto& make = choose(text_encoders, package.text.value("kind", ""), package, "text.kind");
  return make(package, device);
}

std::vector<std::string> check_present_keys(const ModelPackage& package) {
  std::vector<std::string> problems;
  const auto all = package_files(package);
  const auto check = [&](const char* section, const json& fields, const std::function<void(WeightMap)>& build,
                         std::span<const Naming> namings) {
    for (const PackageFile& file : all)
      if (file.section == section && !file.present) return;
    try {
      const std::vector<WeightSpec> wanted = wanted_by(build);
      WeightMap weights = read_as_wanted(package, section, fields, wanted, namings);
      std::erase_if(weights, [&](const auto& entry) {  // the encoder of a VAE is no part of its decoder
        return std::none_of(wanted.begin(), wanted.end(),
                            [&](const WeightSpec& spec) { return spec.name == entry.first; });
      });
      check_weights(weights, wanted, section);
    } catch (const Error& error) {
      problems.emplace_back(error.what());
    }
  };
  const Family& family = family_of(package);
  check(
      "transformer", package.transformer,
      [&](WeightMap weights) {
        family.make_transformer(config_of(package.transformer), std::move(weights), at::kBFloat16, at::kCPU);
      },
      transformer_namings());
  const auto& decoder = choose(decoders, package.decoder.value("kind", ""), package, "decoder.kind");
  check(
      "decoder", package.decoder,
      [&](WeightMap weights) {
        decoder(config_of(package.decoder), std::move(weights), at::kBFloat16, at::kCPU);
      },
      decoder_namings());
  if (package.text.value("kind", "") != "words")
    check(
        "text", package.text,
        [&](const WeightMap& weights) {
          check_weights(weights, T5Config::from_json(config_of(package.text)).weights(), "text encoder");
        },
        text_namings());
  return problems;
}

WeightSizes weight_sizes(const ModelPackage& package) {
  const Family& family = family_of(package);
  const auto& decoder = choose(decoders, package.decoder.value("kind", ""), package, "decoder.kind");
  const auto ask = [](const auto& make, const json& section) {
    return bytes_of(wanted_by(
        [&](WeightMap weights) { make(config_of(section), std::move(weights), at::kBFloat16, at::kCPU); }));
  };
  const auto make_transformer = [&](const json& config, WeightMap weights, at::ScalarType type,
                                    at::Device device) {
    return family.make_transformer(config, std::move(weights), type, device);
  };
  WeightSizes sizes{.transformer = ask(make_transformer, package.transformer),
                    .decoder = ask(decoder, package.decoder)};
  if (package.text.value("kind", "") != "words")
    sizes.text = bytes_of(T5Config::of_section(package.text).weights());
  return sizes;
}

}  // namespace flowcache
