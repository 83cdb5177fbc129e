// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/words.h"

#include <algorithm>
#include <map>

#include "error.h"
#include "package/fields.h"

namespace flowcache {
namespace {

// Runs of ASCII letters, lower-cased; all other bytes separate, so UTF-8 needs no decoding.
std::vector<std::string> split(std::string_view prompt) {
  std::vector<std::string> words(1);
  for (const char c : prompt) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower >= 'a' && lower <= 'z')
      words.back() += lower;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

// One letter inserted, deleted or replaced turns one into the other.
bool one_edit_apart(std::string_view a, std::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > 1 || a == b) return false;
  const size_t same = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
  return a.size() == b.size() ? a.substr(same + 1) == b.substr(same + 1)
                              : a.substr(same) == b.substr(same + 1);
}

class Words final : public TextEncoder {
 public:
  Words(const Fields& section, const WeightMap& weights, at::Device device) {
    read_vocabulary(section);
    read_synonyms(section);
    max_length_ = section.integer("max_length", 1, 4096);
    const int64_t words = static_cast<int64_t>(vocabulary_.size());
    check_weights(weights, {{"token_embedding.weight", {words, -1}}}, "text encoder (words)");
    table_ = weights.at("token_embedding.weight").to(device, at::kFloat, false, true);
  }

  TextFeatures encode(std::string_view prompt) const override {
    TextFeatures out;
    std::vector<int64_t> ids;
    for (const std::string& word : split(prompt)) {
      const std::vector<int64_t> found = look_up(word);
      if (found.empty() && std::find(out.unknown.begin(), out.unknown.end(), word) == out.unknown.end())
        out.unknown.push_back(word);
      ids.insert(ids.end(), found.begin(), found.end());
    }
    if (ids.empty()) ids.push_back(0);
    ids.resize(std::min<size_t>(ids.size(), max_length_));
    out.embedding = table_.index_select(0, at::tensor(ids, at::kLong).to(table_.device()));
    return out;
  }

  std::vector<std::string> vocabulary() const override {
    return {vocabulary_.begin() + 1, vocabulary_.end()};
  }

 private:
  void read_vocabulary(const Fields& section) {
    const char* const wanted = "a list of at least two different words, the first of them the padding";
    if (!section.has("vocabulary") || !section.raw()["vocabulary"].is_array())
      section.fail("vocabulary", wanted);
    for (const auto& word : section.raw()["vocabulary"]) {
      if (!word.is_string()) section.fail("vocabulary", wanted);
      vocabulary_.push_back(word.get<std::string>());
      const int64_t id = static_cast<int64_t>(vocabulary_.size()) - 1;
      if (!ids_.emplace(vocabulary_.back(), id).second) section.fail("vocabulary", wanted);
    }
    if (vocabulary_.size() < 2) section.fail("vocabulary", wanted);
  }

  void read_synonyms(const Fields& section) {
    const Fields synonyms = section.object("synonyms", /*optional=*/true);
    for (const auto& [word, target] : synonyms.raw().items()) {
      std::vector<int64_t> ids;
      for (const std::string& one : split(target.is_string() ? target.get<std::string>() : "")) {
        const auto found = ids_.find(one);
        if (found == ids_.end()) synonyms.fail(word, "words of the vocabulary");
        ids.push_back(found->second);
      }
      if (ids.empty()) synonyms.fail(word, "words of the vocabulary");
      synonyms_.emplace(word, std::move(ids));
    }
  }

  std::vector<int64_t> look_up(const std::string& word) const {
    if (const auto found = ids_.find(word); found != ids_.end()) return {found->second};
    if (const auto found = synonyms_.find(word); found != synonyms_.end()) return found->second;
    if (word.size() < 4) return {};
    std::vector<int64_t> near;
    for (size_t id = 1; id < vocabulary_.size(); ++id)
      if (one_edit_apart(word, vocabulary_[id])) near.push_back(static_cast<int64_t>(id));
    return near.size() == 1 ? near : std::vector<int64_t>{};
  }

  std::vector<std::string> vocabulary_;
  std::map<std::string, int64_t, std::less<>> ids_;
  std::map<std::string, std::vector<int64_t>, std::less<>> synonyms_;
  int64_t max_length_ = 0;
  at::Tensor table_;  // [vocabulary, text_dim] fp32
};

}  // namespace

std::unique_ptr<TextEncoder> make_words(const nlohmann::json& section, const WeightMap& weights,
                                        at::Device device) {
  return std::make_unique<Words>(Fields(section, "model.json", "text"), weights, device);
}

}  // namespace flowcache
