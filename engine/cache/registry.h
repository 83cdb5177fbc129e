// SPDX-License-Identifier: LGPL-2.1-or-later
// name -> policy, with its options, their defaults and the paper it comes from. Adding a policy is one file and one
// line in policies.cpp (docs/add-a-policy.md).
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/guidance/guidance_policy.h"
#include "cache/kv/kv_policy.h"
#include "cache/options.h"
#include "cache/reuse/reuse_policy.h"

namespace flowcache {

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

// Other names of policies: those of the papers' methods that are combinations or settings of what is here.
struct PolicyAlias {
  const char* name;  // "fastercache"
  const char* spec;  // "attention+cfg_cache"
  const char* paper;
};
std::span<const PolicyAlias> reuse_aliases();
std::span<const PolicyAlias> kv_aliases();
// What a spec that begins with another name stands for, options and pluses kept behind it; any other spec as it is.
std::string resolve_reuse(std::string_view spec);
std::string resolve_kv(std::string_view spec);

// "name" or "name:option=value,option=value"; for reuse also "…+guidance policy" and "…+offload". Throws
// FC_ERROR_NOT_FOUND (with the known names) or FC_ERROR_ARGUMENT (unknown option, value out of range: names
// both and the range).
struct ReuseChoice {
  const PolicyEntry<ReusePolicy>* entry = nullptr;
  Options options;
  std::unique_ptr<ReusePolicy> make() const { return entry->make(options); }
};
// The guidance policy behind a plus of a reuse spec; entry is null if there is none.
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
// Is "+offload" among the parts behind the pluses?
bool offloads(std::string_view spec);

}  // namespace flowcache
