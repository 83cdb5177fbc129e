// SPDX-License-Identifier: LGPL-2.1-or-later
// A prompt as words of a small vocabulary, one vector for each word. The model that ships is prompted so.
#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "networks/text/text_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

// A prompt is split into prompt_words(). Each word is then looked up, in this order:
//   1. A word of the vocabulary is taken.
//   2. A synonym becomes the words that it stands for.
//   3. A word of 4 letters or more becomes the word of the vocabulary that is one edit away, if there is
//      exactly one; an edit inserts, deletes or replaces a letter.
//   4. Anything else is unknown.
// The first max_length words count, the others are dropped. No word at all gives the vector of the padding.
// TextFeatures.unknown lists unknown and dropped words. Immutable; any thread.
class WordsEncoder final : public TextEncoder {
 public:
  // section: model.json's "text" with these fields:
  //   vocabulary  words; the first one is the padding
  //   synonyms    optional: word -> words of the vocabulary, separated by spaces
  //   max_length  words that count
  // weights: token_embedding.weight [vocabulary, text_dim]. Throws FC_ERROR_MODEL for what does not fit.
  WordsEncoder(const nlohmann::json& section, const WeightMap& weights, at::Device device);

  TextFeatures encode(std::string_view prompt) const override;
  std::vector<std::string> vocabulary() const override {
    return {vocabulary_.begin() + 1, vocabulary_.end()};
  }

  // The prompt's ids, at most max_length. Appends to `unknown` the words that have no effect, each once.
  std::vector<int64_t> ids(std::string_view prompt, std::vector<std::string>& unknown) const;

 private:
  void read_vocabulary(const nlohmann::json& section);
  void read_synonyms(const nlohmann::json& section);
  std::optional<std::vector<int64_t>> look_up(const std::string& word) const;  // nothing if unknown

  std::vector<std::string> vocabulary_;
  std::map<std::string, int64_t, std::less<>> ids_;
  std::map<std::string, std::vector<int64_t>, std::less<>> synonyms_;
  size_t max_length_ = 0;
  at::Tensor table_;  // [vocabulary, text_dim] fp32
};

}  // namespace flowcache
