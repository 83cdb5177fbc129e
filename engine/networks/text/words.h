// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts as words of a small vocabulary, one vector each: what the model that ships understands.
#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "networks/text/text_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

// A prompt is split into prompt_words(). A word of the vocabulary is
// taken; else a synonym becomes the words it stands for; else a word of 4 letters or more that is one edit (a
// letter inserted, deleted or replaced) away from exactly one word of the vocabulary becomes that word;
// anything else is unknown. The first max_length words count, the rest is dropped. No word at all gives the
// padding's vector. Unknown and dropped words are told (TextFeatures.unknown).
class WordsEncoder final : public TextEncoder {
 public:
  // section: model.json's "text": vocabulary (its first word is the padding), synonyms (optional: word ->
  // words of the vocabulary separated by spaces), max_length. weights: token_embedding.weight [vocabulary,
  // text_dim]. Throws FC_ERROR_MODEL for a section or weights that do not fit.
  WordsEncoder(const nlohmann::json& section, const WeightMap& weights, at::Device device);

  TextFeatures encode(std::string_view prompt) const override;
  std::vector<std::string> vocabulary() const override {
    return {vocabulary_.begin() + 1, vocabulary_.end()};
  }

  // The prompt's ids, 1..max_length of them or none; appends the words that have no effect, each once.
  std::vector<int64_t> ids(std::string_view prompt, std::vector<std::string>& unknown) const;

 private:
  void read_vocabulary(const nlohmann::json& section);
  void read_synonyms(const nlohmann::json& section);
  std::optional<std::vector<int64_t>> look_up(const std::string& word) const;  // none: unknown

  std::vector<std::string> vocabulary_;
  std::map<std::string, int64_t, std::less<>> ids_;
  std::map<std::string, std::vector<int64_t>, std::less<>> synonyms_;
  size_t max_length_ = 0;
  at::Tensor table_;  // [vocabulary, text_dim] fp32
};

}  // namespace flowcache
