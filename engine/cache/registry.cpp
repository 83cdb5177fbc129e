// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/registry.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/words.h"

namespace flowcache {

// Each policy's file defines its entry; the two lists below name them.
namespace reuse {
PolicyEntry<ReusePolicy> none(), flowcache(), teacache(), teacache_joint(), easycache(), magcache(), scm(),
    interval(), taylorseer(), forecast(), ramp(), automatic(), first_block(), xchunk(), mixcache(),
    attention();
}
namespace guidance {
PolicyEntry<GuidancePolicy> cfg_cache();
}
namespace kv {
PolicyEntry<KvPolicy> window(), flowcache(), full(), packcache(), ca2(), decoprune();
}

std::span<const PolicyEntry<ReusePolicy>> reuse_policies() {
  static const std::vector<PolicyEntry<ReusePolicy>> all = {
      reuse::flowcache(),   reuse::none(),     reuse::teacache(), reuse::teacache_joint(),
      reuse::easycache(),   reuse::magcache(), reuse::scm(),      reuse::interval(),
      reuse::taylorseer(),  reuse::forecast(), reuse::ramp(),     reuse::automatic(),
      reuse::first_block(), reuse::xchunk(),   reuse::mixcache(), reuse::attention(),
  };
  return all;
}

std::span<const PolicyEntry<KvPolicy>> kv_policies() {
  static const std::vector<PolicyEntry<KvPolicy>> all = {
      kv::flowcache(), kv::window(), kv::full(), kv::packcache(), kv::ca2(), kv::decoprune(),
  };
  return all;
}

std::span<const PolicyEntry<GuidancePolicy>> guidance_policies() {
  static const std::vector<PolicyEntry<GuidancePolicy>> all = {guidance::cfg_cache()};
  return all;
}

namespace {

template <class Range, class Name>
std::string join(const Range& range, Name name) {
  std::string all;
  for (const auto& one : range) all += (all.empty() ? "" : ", ") + std::string(name(one));
  return all;
}

std::string range_of(const OptionSpec& option) {
  if (option.text) return "any text";
  if (!option.words.empty()) return "one of " + join(option.words, [](const auto& word) { return word; });
  return std::string(option.whole ? "a whole number " : "") + number(option.min) + ".." + number(option.max);
}

[[noreturn]] void reject(fc_status status, const std::string& message) {
  throw Error(status, message);
}

constexpr std::string_view offload_name = "offload";

// "name:rest" around its first colon.
std::pair<std::string, std::string> split(std::string_view text, char at) {
  const size_t where = text.find(at);
  if (where == std::string_view::npos) return {std::string(text), ""};
  return {std::string(text.substr(0, where)), std::string(text.substr(where + 1))};
}

Options defaults(const std::vector<OptionSpec>& specs) {
  Options options;
  for (const OptionSpec& one : specs) {
    if (one.text)
      options.words[one.name] = "";
    else if (one.words.empty())
      options.numbers[one.name] = one.value;
    else
      options.words[one.name] = one.words.front();
  }
  return options;
}

void set_option(Options& options, const OptionSpec& spec, const std::string& value,
                const std::string& where) {
  if (spec.text) {
    options.words[spec.name] = value;
    return;
  }
  const std::string bad = where + ": " + spec.name + "=" + value + " is not allowed: give " + range_of(spec);
  if (!spec.words.empty()) {
    bool known = false;
    for (const std::string& word : spec.words) known = known || word == value;
    if (!known) reject(FC_ERROR_ARGUMENT, bad);
    options.words[spec.name] = value;
    return;
  }
  // Streams of the classic locale read a number alike everywhere; strtod follows the program's locale.
  std::istringstream text(value);
  text.imbue(std::locale::classic());
  double parsed = 0;
  const bool complete =
      static_cast<bool>(text >> parsed) && text.peek() == std::istringstream::traits_type::eof();
  if (!complete || !(parsed >= spec.min && parsed <= spec.max) ||
      (spec.whole && parsed != std::floor(parsed)))
    reject(FC_ERROR_ARGUMENT, bad);
  options.numbers[spec.name] = parsed;
}

template <class Policy>
Options parse(const PolicyEntry<Policy>& entry, const std::string& text, const std::string& where) {
  Options options = defaults(entry.options);
  std::set<std::string> seen;
  for (std::string rest = text; !rest.empty();) {
    const auto [assignment, tail] = split(rest, ',');
    rest = tail;
    const auto [name, value] = split(assignment, '=');
    const OptionSpec* spec = nullptr;
    for (const OptionSpec& one : entry.options)
      if (one.name == name) spec = &one;
    if (!spec)
      reject(FC_ERROR_ARGUMENT,
             where + ": no option \"" + name + "\"" +
                 (entry.options.empty()
                      ? "; it has none"
                      : "; it has " + join(entry.options, [](const auto& one) { return one.name; })));
    if (!seen.insert(name).second) reject(FC_ERROR_ARGUMENT, where + ": " + name + " is given twice");
    set_option(options, *spec, value, where);
  }
  return options;
}

template <class Choice, class Policy>
Choice choose(std::span<const PolicyEntry<Policy>> entries, std::string_view spec, const std::string& kind,
              const std::string& others = "") {
  const auto [name, options] = split(spec, ':');
  for (const PolicyEntry<Policy>& entry : entries)
    if (entry.name == name) return {&entry, parse(entry, options, kind + " " + name)};
  reject(FC_ERROR_NOT_FOUND, "no " + kind + " \"" + name + "\"; there are " +
                                 join(entries, [](const auto& entry) { return entry.name; }) + others);
}

}  // namespace

OptionSpec count_option(std::string name, std::string help, double value, double min, double max) {
  return {.name = std::move(name),
          .help = std::move(help),
          .value = value,
          .min = min,
          .max = max,
          .whole = true};
}

OptionSpec switch_option(std::string name, std::string help, bool value) {
  return count_option(std::move(name), std::move(help), value ? 1 : 0, 0, 1);
}

std::string_view policy_name(std::string_view spec) {
  return spec.substr(0, spec.find_first_of(":+"));
}

namespace {
// A spec cut at the pluses that join: those followed by a name, unlike that of 1e+3. At least one part.
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
}  // namespace

ReuseChoice choose_reuse(std::string_view spec) {
  return choose<ReuseChoice>(reuse_policies(), parts_of(spec).front(), "cache policy");
}
GuidanceChoice choose_guidance(std::string_view spec) {
  const auto parts = parts_of(spec);
  GuidanceChoice choice;
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == offload_name) continue;
    if (choice.entry)
      reject(FC_ERROR_ARGUMENT, "cache " + std::string(spec) + ": one guidance policy at most");
    choice = choose<GuidanceChoice>(guidance_policies(), parts[i], "guidance policy", ", and offload");
  }
  return choice;
}
bool offloads(std::string_view spec) {
  const auto parts = parts_of(spec);
  return std::find(parts.begin() + 1, parts.end(), offload_name) != parts.end();
}
KvChoice choose_kv(std::string_view spec) {
  return choose<KvChoice>(kv_policies(), spec, "KV cache policy");
}

ReuseKind reuse_kind(std::string_view word) {
  if (word == "velocity") return ReuseKind::velocity;
  if (word == "latent_increment") return ReuseKind::latent_increment;
  if (word == "output_delta") return ReuseKind::output_delta;
  if (word == "token_residual") return ReuseKind::token_residual;
  throw Error(FC_ERROR_INTERNAL, "no reuse kind \"" + std::string(word) + "\"");
}

}  // namespace flowcache
