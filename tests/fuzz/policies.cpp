// SPDX-License-Identifier: LGPL-2.1-or-later
// The text of `cache` and `kv-cache`, and in further lines the file that curve_file=@ stands for: a policy that is accepted
// was named in full, and is accepted again as it prints.
#include <cstdio>

#include "cache/registry.h"
#include "refused.h"

namespace {

using namespace flowcache;

std::string printed(const std::string& name, const Options& options) {
  std::string text = name;
  char separator = ':';
  const auto add = [&](const std::string& option, const std::string& value) {
    text += separator + option + "=" + value;
    separator = ',';
  };
  for (const auto& [option, value] : options.numbers) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.17g", value);
    add(option, digits);
  }
  for (const auto& [option, value] : options.words)
    if (!value.empty()) add(option, value);
  return text;
}

// The name stands in front, and what follows it is of the form that the registry names.
void check_name(std::string_view spec, const std::string& name, bool joins) {
  FUZZ_REQUIRE_WITH(spec.starts_with(name), std::string(spec));
  const std::string_view behind = spec.substr(name.size());
  const bool joined =
      joins && behind.size() > 1 && behind[0] == '+' && std::isalpha(static_cast<unsigned char>(behind[1]));
  FUZZ_REQUIRE_WITH(behind.empty() || behind[0] == ':' || joined, std::string(spec));
  FUZZ_REQUIRE(policy_name(spec) == name);
}

// A reuse spec whole: its policy, the guidance policy and the offload behind it.
struct Whole {
  ReuseChoice reuse;
  GuidanceChoice guidance;
  bool offload = false;
  explicit Whole(std::string_view spec)
      : reuse(choose_reuse(spec)), guidance(choose_guidance(spec)), offload(offloads(spec)) {}
  std::string text() const {
    return printed(reuse.entry->name, reuse.options) +
           (guidance.entry ? "+" + printed(guidance.entry->name, guidance.options) : "") +
           (offload ? "+offload" : "");
  }
};

void reuse(std::string_view spec, const std::string& curve) {
  const auto whole = [&](std::string_view text, auto use) {
    return fuzz::refused([&] { use(Whole(text)); });
  };
  whole(spec, [&](const Whole& first) {
    check_name(spec, first.reuse.entry->name, true);
    const Whole second(first.text());
    FUZZ_REQUIRE_WITH(
        second.reuse.entry == first.reuse.entry && second.reuse.options == first.reuse.options &&
            second.guidance.entry == first.guidance.entry &&
            second.guidance.options == first.guidance.options && second.offload == first.offload,
        first.text());
    first.guidance.make();
    ReuseChoice choice = first.reuse;
    if (const auto file = choice.options.words.find("curve_file");
        file != choice.options.words.end() && !file->second.empty()) {
      if (file->second != "@") return;  // any file of this machine
      file->second = curve;
    }
    const auto policy = choice.make();
    FUZZ_REQUIRE(policy != nullptr);
    for (const int steps : {1, 2, 7, 50, 1000}) {
      const auto range = policy->governed(steps);
      FUZZ_REQUIRE(range.fewest <= range.most && range.most <= steps);
    }
    policy->reset();
  });
}

void kv(std::string_view spec) {
  fuzz::refused([&] {
    const KvChoice first = choose_kv(spec);
    check_name(spec, first.entry->name, false);
    const KvChoice second = choose_kv(printed(first.entry->name, first.options));
    FUZZ_REQUIRE(second.entry == first.entry && second.options == first.options);
    const auto policy = first.make();
    policy->begin(16, 48, 48 * 10);
    FUZZ_REQUIRE(policy->needs_change(50) < 50);
    FUZZ_REQUIRE(policy->needs_change(50) < 0 || !policy->needs_drift());
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::MemoryFile curve;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string_view spec = fuzz::take_until(rest, '\n');
  curve.write(rest);
  reuse(spec, curve.path());
  kv(spec);
  return 0;
}
