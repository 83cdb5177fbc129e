// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>

#include "base/error.h"
#include "families/family.h"
#include "networks/text/prompt_cleaning.h"

namespace flowcache {

// For each family its name in model.json, and the function that its folder defines.
#define FLOWCACHE_FAMILIES(EACH)    \
  EACH("magi", magi_family)         \
  EACH("skyreels", skyreels_family) \
  EACH("wan", wan_family)           \
  EACH("wan-causal", wan_family)

#define DECLARE(name, function) const Family& function();
FLOWCACHE_FAMILIES(DECLARE)
#undef DECLARE

namespace {

struct Named {
  const char* name;
  const Family& (*family)();
};

#define ENTRY(name, function) {name, function},
constexpr Named families[] = {FLOWCACHE_FAMILIES(ENTRY)};
#undef ENTRY

// The names of the families for which the condition holds, for messages.
template <typename Condition>
std::string names_where(Condition condition) {
  std::string names;
  for (const Named& one : families)
    if (condition(one.family())) names += (names.empty() ? "" : ", ") + std::string(one.name);
  return names;
}

const Family* find_family(const std::string& name) {
  const auto* found = std::find_if(std::begin(families), std::end(families),
                                   [&](const Named& one) { return one.name == name; });
  return found == std::end(families) ? nullptr : &found->family();
}

}  // namespace

std::string Family::clean_prompt(std::string_view prompt) const {
  return plain_prompt(prompt);
}

const Family& family_of(const ModelPackage& package) {
  if (const Family* family = find_family(package.family)) return *family;
  throw Error(FC_ERROR_MODEL, (package.folder / "model.json").string() + ": family is \"" + package.family +
                                  "\"; this build knows " + names_where([](const Family&) { return true; }));
}

KeyMatch families_with_keys(const WeightMap& weights) {
  KeyMatch match;
  match.families = names_where([&](const Family& family) {
    const bool has = weights.contains(family.telling_key());
    if (has) match.key = family.telling_key();
    return has;
  });
  return match;
}

ModelPackage read_model(const std::filesystem::path& given) {
  return read_package(given, [](const std::string& name) {
    const Family* family = find_family(name);
    return family == nullptr ? std::vector<std::string>{} : family->sampler_fields();
  });
}

}  // namespace flowcache
