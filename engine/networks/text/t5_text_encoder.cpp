// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/t5_text_encoder.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "networks/text/prompt_cleaning.h"
#include "networks/text/prompt_words.h"
#include "package/fields.h"
#include "package/published_names.h"
#include "package/weights_file.h"

namespace flowcache {
namespace {

constexpr size_t remembered = 64;

// Rows of MAGI-1's `other_tokens`.
constexpr int64_t quality_row = 1, duration_row = 7, longest_duration = 7;

std::string model_json(const ModelPackage& package) {
  return (package.folder / "model.json").string();
}

Fields text_fields(const ModelPackage& package) {
  return Fields(package.text, model_json(package), "text");
}

// The path of the file that a field names. Throws FC_ERROR_MODEL if it does not lie in the model's folder.
std::filesystem::path file_in(const ModelPackage& package, const char* field, const std::string& fallback) {
  const std::string name = text_fields(package).string(field, 255, fallback);
  const std::filesystem::path path(name);
  if (path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end())
    text_fields(package).fail(field, "the name of a file in the model's folder");
  return package.folder / name;
}

std::string what_of(const ModelPackage& package) {
  return "text encoder of " + model_json(package);
}

WeightMap weights_of(const ModelPackage& package, const T5Config& config) {
  return renamed(read_section(package, package.text), config.weights(), text_namings(), what_of(package));
}

at::Tensor read_special_tokens(const ModelPackage& package, int64_t dim) {
  if (!text_fields(package).has("special_tokens")) return {};
  const auto file = file_in(package, "special_tokens", "");
  const WeightMap tokens = read_weights(file);
  const auto found = tokens.find("other_tokens");
  if (found == tokens.end() || found->second.dim() != 2 || found->second.size(1) != dim ||
      found->second.size(0) <= duration_row + longest_duration)
    throw Error(FC_ERROR_MODEL, file.string() + " needs other_tokens [at least " +
                                    std::to_string(duration_row + longest_duration + 1) + ", " +
                                    std::to_string(dim) + "]: take special_tokens.npz of MAGI-1's code");
  // First the token for the duration, then the one for the quality. A stream never ends, so the longest
  // duration is always right.
  return at::stack({found->second[duration_row + longest_duration], found->second[quality_row]})
      .to(at::kFloat);
}

}  // namespace

T5TextEncoder::T5TextEncoder(const ModelPackage& package, at::Device device, Cleaner clean)
    : package_(package),
      config_(T5Config::of_section(package.text)),
      clean_(std::move(clean)),
      tokenizer_(file_in(package, "tokenizer", "spiece.model")) {
  const Fields fields = text_fields(package_);
  unload_ = fields.boolean("unload", false);
  max_length_ = fields.integer("max_length", 1, 65536, fields.string("kind", 63) == "t5" ? 800 : 512);
  const std::string where = fields.string("device", 15, "model");
  if (where != "model" && where != "cpu") fields.fail("device", "\"model\" or \"cpu\"");
  device_ = where == "cpu" ? at::Device(at::kCPU) : device;
  const std::string precision =
      fields.string("precision", 15, default_text_precision(fields.string("kind", 63), device_.is_cpu()));
  if (precision != "bf16" && precision != "fp32") fields.fail("precision", "\"bf16\" or \"fp32\"");
  dtype_ = precision == "bf16" ? at::kBFloat16 : at::kFloat;
  if (tokenizer_.vocabulary() > config_.vocabulary)
    throw Error(FC_ERROR_MODEL,
                model_json(package_) + ": the tokenizer has " + std::to_string(tokenizer_.vocabulary()) +
                    " pieces, the text encoder's table " + std::to_string(config_.vocabulary) +
                    " rows: they belong to different models");
  check_weights(weights_of(package_, config_), config_.weights(), what_of(package_));
  prefix_ = read_special_tokens(package_, config_.dim);
}

at::Tensor T5TextEncoder::run(const std::string& cleaned) const {
  if (!encoder_)
    encoder_ = std::make_unique<T5Encoder>(config_, weights_of(package_, config_), dtype_, device_,
                                           what_of(package_));
  // Without padding: it would be masked out and cut off again, so computing it would be wasted.
  const std::vector<int64_t> ids = tokenizer_.encode(cleaned, max_length_);
  const at::Tensor index = at::tensor(ids, at::kLong);
  at::Tensor features = encoder_->encode(index, at::ones_like(index)).to(at::kCPU);
  if (prefix_.defined()) features = at::cat({prefix_, features});
  if (unload_) encoder_.reset();
  return features.narrow(0, 0, std::min(features.size(0), max_length_)).contiguous();
}

// Words that the cleaning removes, that stand behind the last token that fits, or that the tokenizer
// has no piece for.
std::vector<std::string> T5TextEncoder::without_effect(std::string_view prompt,
                                                       const std::string& cleaned) const {
  const auto kept = prompt_words(std::string_view(cleaned).substr(0, tokenizer_.fits(cleaned, max_length_)));
  const std::set<std::string> heard(kept.begin(), kept.end());
  std::vector<std::string> words;
  for (const std::string& word : prompt_words(plain_prompt(prompt)))
    if (!heard.contains(word) || !tokenizer_.knows(word)) add_once(words, word);
  return words;
}

TextFeatures T5TextEncoder::encode(std::string_view prompt) const {
  const std::string cleaned = clean_(prompt);
  const std::vector<std::string> unknown = without_effect(prompt, cleaned);
  const std::lock_guard lock(mutex_);
  for (auto it = recent_.begin(); it != recent_.end(); ++it) {
    if (it->first != cleaned) continue;
    recent_.splice(recent_.begin(), recent_, it);
    return {recent_.front().second, unknown};
  }
  recent_.emplace_front(cleaned, run(cleaned));
  if (recent_.size() > remembered) recent_.pop_back();
  return {recent_.front().second, unknown};
}

}  // namespace flowcache
