// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/options.h"

#include <cmath>
#include <locale>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/words.h"

namespace flowcache {
namespace {

int parity_admitted = 0;  // the number of ParityOptions objects that exist

std::string join(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

std::string range_of(const OptionSpec& option) {
  if (option.text) return "any text";
  if (!option.words.empty()) return "one of " + join(public_words(option));
  return std::string(option.whole ? "a whole number " : "") + number(option.min) + ".." + number(option.max);
}

[[noreturn]] void reject(const std::string& message) {
  throw Error(FC_ERROR_ARGUMENT, message);
}

// The text before the first `at`, and the text after it.
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
    for (const std::string& word : public_words(spec)) known = known || word == value;
    if (!known) reject(bad);
    options.words[spec.name] = value;
    return;
  }
  // A stream with the classic locale reads numbers the same way everywhere; strtod() follows the program's
  // locale.
  std::istringstream text(value);
  text.imbue(std::locale::classic());
  double parsed = 0;
  const bool complete =
      static_cast<bool>(text >> parsed) && text.peek() == std::istringstream::traits_type::eof();
  if (!complete || !(parsed >= spec.min && parsed <= spec.max) ||
      (spec.whole && parsed != std::floor(parsed)))
    reject(bad);
  options.numbers[spec.name] = parsed;
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

ParityOptions::ParityOptions() {
  ++parity_admitted;
}

ParityOptions::~ParityOptions() {
  --parity_admitted;
}

bool is_public(const OptionSpec& option) {
  return !option.parity || parity_admitted > 0;
}

std::vector<std::string> public_words(const OptionSpec& option) {
  std::vector<std::string> words;
  for (const std::string& word : option.words)
    if (parity_admitted > 0 || !word.starts_with("parity_")) words.push_back(word);
  return words;
}

Options parse_options(const std::vector<OptionSpec>& known, const std::string& text,
                      const std::string& where) {
  Options options = defaults(known);
  std::vector<std::string> names;
  for (const OptionSpec& one : known)
    if (is_public(one)) names.push_back(one.name);
  std::set<std::string> seen;
  for (std::string rest = text; !rest.empty();) {
    const auto [assignment, tail] = split(rest, ',');
    rest = tail;
    const auto [name, value] = split(assignment, '=');
    const OptionSpec* spec = nullptr;
    for (const OptionSpec& one : known)
      if (one.name == name && is_public(one)) spec = &one;
    if (!spec)
      reject(where + ": no option \"" + name + "\"" +
             (names.empty() ? "; it has none" : "; it has " + join(names)));
    if (!seen.insert(name).second) reject(where + ": " + name + " is given twice");
    set_option(options, *spec, value, where);
  }
  return options;
}

}  // namespace flowcache
