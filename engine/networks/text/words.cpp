// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/words.h"

#include <algorithm>

#include "base/error.h"
#include "networks/text/prompt_words.h"
#include "package/fields.h"

namespace flowcache {
namespace {

// True if inserting, deleting or replacing one letter makes one word of the other.
bool one_edit_apart(std::string_view a, std::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > 1 || a == b) return false;
  const size_t same = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
  return a.size() == b.size() ? a.substr(same + 1) == b.substr(same + 1)
                              : a.substr(same) == b.substr(same + 1);
}

Fields fields_of(const nlohmann::json& section) {
  return {section, "model.json", "text"};
}

}  // namespace

WordsEncoder::WordsEncoder(const nlohmann::json& section, const WeightMap& weights, at::Device device) {
  read_vocabulary(section);
  read_synonyms(section);
  max_length_ = static_cast<size_t>(fields_of(section).integer("max_length", 1, 4096));
  const int64_t words = static_cast<int64_t>(vocabulary_.size());
  check_weights(weights, {{"token_embedding.weight", {words, -1}}}, "text encoder (words)");
  table_ = weights.at("token_embedding.weight").to(device, at::kFloat, false, true);
}

void WordsEncoder::read_vocabulary(const nlohmann::json& section) {
  const Fields fields = fields_of(section);
  const char* const wanted = "a list of at least two different words, the first of them the padding";
  if (!fields.has("vocabulary") || !section["vocabulary"].is_array()) fields.fail("vocabulary", wanted);
  for (const auto& word : section["vocabulary"]) {
    if (!word.is_string()) fields.fail("vocabulary", wanted);
    const int64_t id = static_cast<int64_t>(vocabulary_.size());
    vocabulary_.push_back(word.get<std::string>());
    if (!ids_.emplace(vocabulary_.back(), id).second) fields.fail("vocabulary", wanted);
  }
  if (vocabulary_.size() < 2) fields.fail("vocabulary", wanted);
}

void WordsEncoder::read_synonyms(const nlohmann::json& section) {
  const Fields synonyms = fields_of(section).object("synonyms", /*optional=*/true);
  for (const auto& [word, target] : synonyms.raw().items()) {
    if (!target.is_string())
      synonyms.fail(word, "words of the vocabulary, or \"\" for a word without effect");
    std::vector<int64_t> ids;
    for (const std::string& one : prompt_words(target.get<std::string>())) {
      const auto found = ids_.find(one);
      if (found == ids_.end()) synonyms.fail(word, "words of the vocabulary");
      ids.push_back(found->second);
    }
    synonyms_.emplace(word, std::move(ids));
  }
}

std::optional<std::vector<int64_t>> WordsEncoder::look_up(const std::string& word) const {
  if (const auto found = ids_.find(word); found != ids_.end()) return std::vector{found->second};
  if (const auto found = synonyms_.find(word); found != synonyms_.end()) return found->second;
  if (word.size() < 4) return std::nullopt;
  std::vector<int64_t> near;
  for (size_t id = 1; id < vocabulary_.size(); ++id)
    if (one_edit_apart(word, vocabulary_[id])) near.push_back(static_cast<int64_t>(id));
  return near.size() == 1 ? std::optional(near) : std::nullopt;
}

std::vector<int64_t> WordsEncoder::ids(std::string_view prompt, std::vector<std::string>& unknown) const {
  std::vector<int64_t> ids;
  std::vector<std::string> heard;
  for (const std::string& word : prompt_words(prompt)) {
    const auto found = look_up(word);
    const bool fits = found && (found->empty() || ids.size() < max_length_);
    add_once(fits ? heard : unknown, word);
    if (fits) ids.insert(ids.end(), found->begin(), found->end());
  }
  std::erase_if(unknown, [&](const std::string& word) {
    return std::find(heard.begin(), heard.end(), word) != heard.end();
  });
  ids.resize(std::min(ids.size(), max_length_));
  return ids;
}

TextFeatures WordsEncoder::encode(std::string_view prompt) const {
  TextFeatures out;
  std::vector<int64_t> rows = ids(prompt, out.unknown);
  if (rows.empty()) rows.push_back(0);
  out.embedding = table_.index_select(0, at::tensor(rows, at::kLong).to(table_.device()));
  return out;
}

}  // namespace flowcache
