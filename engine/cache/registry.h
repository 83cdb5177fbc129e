// SPDX-License-Identifier: LGPL-2.1-or-later
// The list of policies: name, options with defaults, and the paper of each. A new policy is one file and one
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
  double threshold = 0;  // the default ε, for models that name none; 0 for policies without an ε
  std::vector<OptionSpec> options;
  std::function<std::unique_ptr<Policy>(const Options&)> make;
};

std::span<const PolicyEntry<ReusePolicy>> reuse_policies();
std::span<const PolicyEntry<KvPolicy>> kv_policies();
std::span<const PolicyEntry<GuidancePolicy>> guidance_policies();

// Other names for policies: a paper's method may be a setting of a policy here, or a combination of several.
struct PolicyAlias {
  const char* name;  // "fastercache"
  const char* spec;  // "attention+cfg_cache"
  const char* paper;
};
std::span<const PolicyAlias> reuse_aliases();
std::span<const PolicyAlias> kv_aliases();
// Replaces another name at the start of `spec` by what it means. Options and parts after a plus are kept. A
// spec that begins with no such name is returned unchanged.
std::string resolve_reuse(std::string_view spec);
std::string resolve_kv(std::string_view spec);

// A spec is "name" or "name:option=value,option=value". A reuse spec may go on with "+" and a guidance
// policy, and with "+offload". The functions choose_…() throw FC_ERROR_NOT_FOUND for an unknown name (the
// message lists the known ones) and FC_ERROR_ARGUMENT as parse_options() does.
struct ReuseChoice {
  const PolicyEntry<ReusePolicy>* entry = nullptr;
  Options options;
  std::unique_ptr<ReusePolicy> make() const { return entry->make(options); }
};
// The guidance policy that follows a plus in a reuse spec; entry is null if there is none.
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
// The first name in a spec: the text before the first colon or plus.
std::string_view policy_name(std::string_view spec);
ReuseChoice choose_reuse(std::string_view spec);
GuidanceChoice choose_guidance(std::string_view spec);
KvChoice choose_kv(std::string_view spec);
// True if one of the parts after a plus is "offload".
bool offloads(std::string_view spec);

}  // namespace flowcache
