// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/registry.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace flowcache {
namespace {

constexpr std::string_view offload_name = "offload";

// Splits a spec at each plus that a letter follows. The plus in a number such as 1e+3 is not one. Returns at
// least one part.
std::vector<std::string_view> parts_of(std::string_view spec) {
  std::vector<std::string_view> parts;
  size_t from = 0;
  for (size_t i = 0; i + 1 < spec.size(); ++i) {
    if (spec[i] != '+' || !std::isalpha(static_cast<unsigned char>(spec[i + 1]))) continue;
    parts.push_back(spec.substr(from, i - from));
    from = i + 1;
  }
  parts.push_back(spec.substr(from));
  return parts;
}

std::string_view options_of(std::string_view part) {
  const size_t colon = part.find(':');
  return colon == std::string_view::npos ? std::string_view() : part.substr(colon + 1);
}

template <class Policy>
const PolicyEntry<Policy>* find_policy(std::span<const PolicyEntry<Policy>> entries, std::string_view name) {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const auto& one) { return one.name == name; });
  return found == entries.end() ? nullptr : &*found;
}

// other: a hint for the message, if the name is a policy of another kind; else "". others: further names to
// list.
template <class Choice, class Policy>
Choice choose(std::span<const PolicyEntry<Policy>> entries, std::string_view part, const std::string& kind,
              const std::string& other, const std::string& others = "") {
  const std::string name(part.substr(0, part.find(':')));  // with what does not belong to a name
  if (const PolicyEntry<Policy>* entry = find_policy(entries, name))
    return {entry, parse_options(entry->options, std::string(options_of(part)), kind + " " + name)};
  std::string known;
  for (const PolicyEntry<Policy>& entry : entries) known += (known.empty() ? "" : ", ") + entry.name;
  throw Error(FC_ERROR_NOT_FOUND, "no " + kind + " \"" + name + "\"; " + (other.empty() ? "" : other + "; ") +
                                      "there are " + known + others);
}

const PolicyAlias* find_alias(std::span<const PolicyAlias> aliases, std::string_view spec) {
  const auto found = std::find_if(aliases.begin(), aliases.end(),
                                  [&](const PolicyAlias& one) { return one.name == policy_name(spec); });
  return found == aliases.end() ? nullptr : &*found;
}

// The options of `spec` go to the first policy that its name stands for; its parts after a plus go to the
// end.
std::string resolve(std::span<const PolicyAlias> aliases, std::string_view spec) {
  const PolicyAlias* alias = find_alias(aliases, spec);
  if (!alias) return std::string(spec);
  const auto own = parts_of(spec), meant = parts_of(alias->spec);
  std::string text(meant.front());
  if (const std::string_view options = options_of(own.front()); !options.empty())
    text += (options_of(meant.front()).empty() ? ":" : ",") + std::string(options);
  for (size_t i = 1; i < meant.size(); ++i) text += "+" + std::string(meant[i]);
  for (size_t i = 1; i < own.size(); ++i) text += "+" + std::string(own[i]);
  return text;
}

}  // namespace

std::string_view policy_name(std::string_view spec) {
  return spec.substr(0, spec.find_first_of(":+"));
}

std::string resolve_reuse(std::string_view spec) {
  return resolve(reuse_aliases(), spec);
}

std::string resolve_kv(std::string_view spec) {
  return resolve(kv_aliases(), spec);
}

ReuseChoice choose_reuse(std::string_view spec) {
  const std::string meant = resolve_reuse(spec);
  const std::string name(policy_name(meant));
  const bool is_kv = find_policy(kv_policies(), name) || find_alias(kv_aliases(), name);
  return choose<ReuseChoice>(reuse_policies(), parts_of(meant).front(), "cache policy",
                             is_kv ? "it is a KV cache policy: ask for it as kv-cache" : "");
}

GuidanceChoice choose_guidance(std::string_view spec) {
  const std::string meant = resolve_reuse(spec);
  const auto parts = parts_of(meant);
  GuidanceChoice choice;
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == offload_name) continue;
    if (choice.entry)
      throw Error(FC_ERROR_ARGUMENT, "cache " + std::string(spec) + ": one guidance policy at most");
    choice = choose<GuidanceChoice>(guidance_policies(), parts[i], "guidance policy", "", ", and offload");
  }
  return choice;
}

bool offloads(std::string_view spec) {
  const std::string meant = resolve_reuse(spec);
  const auto parts = parts_of(meant);
  return std::find(parts.begin() + 1, parts.end(), offload_name) != parts.end();
}

KvChoice choose_kv(std::string_view spec) {
  const std::string meant = resolve_kv(spec);
  const std::string name(policy_name(meant));
  const bool is_reuse = find_policy(reuse_policies(), name) || find_alias(reuse_aliases(), name);
  return choose<KvChoice>(kv_policies(), meant, "KV cache policy",
                          is_reuse ? "it is a reuse policy: ask for it as cache" : "");
}

}  // namespace flowcache
