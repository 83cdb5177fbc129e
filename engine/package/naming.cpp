// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/naming.h"

#include <algorithm>
#include <set>

#include "package/bytes.h"

namespace flowcache {
namespace {

constexpr size_t anchors = 4;  // wanted keys that prefixes are looked for with

WeightMap translated(const WeightMap& weights, const Naming* naming, const std::string& what) {
  WeightMap out;
  for (const auto& [name, tensor] : weights) {
    const std::string plain = without_wrappers(name), own = naming ? naming->ours(plain, weights) : plain;
    if (own.empty()) continue;
    if (const auto [place, is_new] = out.emplace(own, tensor); !is_new)
      throw Error(FC_ERROR_MODEL, what + ": two tensors are called " + in_quotes(own) +
                                      ", one of them written " + in_quotes(name) +
                                      "; the file holds two models: take a file with one");
  }
  return out;
}

size_t count_under(const std::string& prefix, const WeightMap& weights,
                   const std::vector<WeightSpec>& wanted) {
  return static_cast<size_t>(std::count_if(wanted.begin(), wanted.end(), [&](const WeightSpec& spec) {
    return !spec.optional && weights.contains(prefix + spec.name);
  }));
}

// Words in front of some of the wanted names, "" among them.
std::set<std::string> prefixes(const WeightMap& weights, const std::vector<WeightSpec>& wanted) {
  std::set<std::string> found = {""};
  const size_t step = std::max<size_t>(1, wanted.size() / anchors);
  for (size_t i = 0; i < wanted.size(); i += step) {
    const std::string end = "." + wanted[i].name;
    for (const auto& [name, tensor] : weights)
      if (name.ends_with(end)) found.insert(name.substr(0, name.size() - wanted[i].name.size()));
  }
  return found;
}

// All that fits best; more than one where a file holds the network more than once.
std::vector<NameMatch> best_matches(const WeightMap& weights, const std::vector<WeightSpec>& wanted,
                                    std::span<const Naming> namings, const std::string& what) {
  const auto must = static_cast<size_t>(
      std::count_if(wanted.begin(), wanted.end(), [](const WeightSpec& spec) { return !spec.optional; }));
  std::vector<NameMatch> best = {{.wanted = must}};
  const auto consider = [&](const Naming* naming) {
    const WeightMap own = translated(weights, naming, what);
    for (const std::string& prefix : prefixes(own, wanted)) {
      const NameMatch match{naming, prefix, count_under(prefix, own, wanted), must};
      if (match.found > best.front().found) best.clear();
      if (best.empty() ||
          (match.found == best.front().found && match.found > 0 && best.front().naming == naming))
        best.push_back(match);
    }
  };
  consider(nullptr);
  for (const Naming& naming : namings)
    if (best.front().found < must) consider(&naming);
  return best;
}

}  // namespace

std::string without_wrappers(std::string key) {
  for (const std::string_view wrapper :
       {"_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."})
    for (size_t at = 0; (at = key.find(wrapper)) != std::string::npos;) key.erase(at, wrapper.size());
  return key;
}

NameMatch match_names(const WeightMap& weights, const std::vector<WeightSpec>& wanted,
                      std::span<const Naming> namings, const std::string& what) {
  const std::vector<NameMatch> best = best_matches(weights, wanted, namings, what);
  if (best.size() > 1 && best.front().found > 0) {
    std::string all, first;
    for (const NameMatch& one : best) {
      const std::string word = one.prefix.substr(0, one.prefix.find('.'));
      all += (all.empty() ? "" : " and ") + in_quotes(one.prefix.empty() ? "no word" : word);
      if (first.empty() && !one.prefix.empty()) first = word;
    }
    throw Error(FC_ERROR_MODEL, what + ": the file holds this network " + std::to_string(best.size()) +
                                    " times, under " + all + ": say which in model.json, such as \"key\": " +
                                    in_quotes(first) + " beside \"file\"");
  }
  return best.front();
}

WeightMap renamed(WeightMap weights, const std::vector<WeightSpec>& wanted, std::span<const Naming> namings,
                  const std::string& what) {
  if (wanted.empty()) return weights;
  const NameMatch match = match_names(weights, wanted, namings, what);
  if (match.found == 0) return weights;
  const WeightMap own = translated(weights, match.naming, what);
  if (match.prefix.empty()) return own;
  WeightMap inner;
  for (const auto& [name, tensor] : own)
    if (name.starts_with(match.prefix)) inner.emplace(name.substr(match.prefix.size()), tensor);
  return inner;
}

}  // namespace flowcache
