// SPDX-License-Identifier: LGPL-2.1-or-later
// name -> policy, with its options, their defaults and the paper it comes from. Adding a policy is one file
// and one line in registry.cpp.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/guidance/guidance_policy.h"
#include "cache/kv/kv_policy.h"
#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// An option is a number with a range, one of a list of words, or any text (without a comma).
struct OptionSpec {
  std::string name;
  std::string help;
  double value = 0, min = 0, max = 0;  // numbers
  std::vector<std::string> words;      // non-empty: a word; the first is the default
  bool whole = false;                  // numbers: no fraction
  bool text = false;                   // any text, by default none; kept with the words
};

// A whole number min..max, and a switch that is 0 or 1.
OptionSpec count_option(std::string name, std::string help, double value, double min = 0, double max = 1000);
OptionSpec switch_option(std::string name, std::string help, bool value);

// Options after parsing: every option of the policy is present.
struct Options {
  std::map<std::string, double, std::less<>> numbers;
  std::map<std::string, std::string, std::less<>> words;
  double number(std::string_view name) const { return numbers.find(name)->second; }
  int integer(std::string_view name) const { return static_cast<int>(number(name)); }
  bool flag(std::string_view name) const { return number(name) != 0; }
  const std::string& word(std::string_view name) const { return words.find(name)->second; }
  bool operator==(const Options&) const = default;
};

template <class Policy>
struct PolicyEntry {
  std::string name, summary, paper;
  double threshold = 0;  // default ε where the model names none; 0 for policies without one
  std::vector<OptionSpec> options;
  std::function<std::unique_ptr<Policy>(const Options&)> make;
};

std::span<const PolicyEntry<ReusePolicy>> reuse_policies();
std::span<const PolicyEntry<KvPolicy>> kv_policies();
std::span<const PolicyEntry<GuidancePolicy>> guidance_policies();

// "name" or "name:option=value,option=value"; for reuse also "…+guidance policy" and "…+offload". Throws
// FC_ERROR_NOT_FOUND (with the known names) or FC_ERROR_ARGUMENT (unknown option, value out of range: names
// both and the range).
struct ReuseChoice {
  const PolicyEntry<ReusePolicy>* entry = nullptr;
  Options options;
  std::unique_ptr<ReusePolicy> make() const { return entry->make(options); }
};
// What stands behind the plus of a reuse spec; entry is null if there is none.
struct GuidanceChoice {
  const PolicyEntry<GuidancePolicy>* entry = nullptr;
  Options options;
  std::unique_ptr<GuidancePolicy> make() const { return entry ? entry->make(options) : nullptr; }
};
struct KvChoice {
  const PolicyEntry<KvPolicy>* entry = nullptr;
  Options options;
  std::unique_ptr<KvPolicy> make() const { return entry->make(options); }
};
// The (first) name in a spec: what comes before a colon or a plus.
std::string_view policy_name(std::string_view spec);
ReuseChoice choose_reuse(std::string_view spec);
GuidanceChoice choose_guidance(std::string_view spec);
KvChoice choose_kv(std::string_view spec);
// Does "+offload" stand among what is behind the pluses?
bool offloads(std::string_view spec);

// "velocity", "latent_increment", "output_delta" or "token_residual". The tail residual is a policy's own
// choice.
ReuseKind reuse_kind(std::string_view word);

}  // namespace flowcache
