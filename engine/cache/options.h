// SPDX-License-Identifier: LGPL-2.1-or-later
// The grammar of policies' options: "name=value,name=value".
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace flowcache {

// An option is a number with a range, one of a list of words, or any text (without a comma).
struct OptionSpec {
  std::string name;
  std::string help;
  double value = 0, min = 0, max = 0;  // numbers
  std::vector<std::string> words;      // non-empty: a word; the first is the default
  bool whole = false;                  // numbers: no fraction
  bool text = false;                   // any text, by default none; kept with the words
  bool parity = false;  // there to compare with a reference's faults only: unknown without ParityOptions
};

// While one lives, options with `parity`, and words that begin with "parity_", are known in this process. For tests and
// golden cases that compare with public code, faults included. Not thread-safe.
class ParityOptions {
 public:
  ParityOptions();
  ~ParityOptions();
  ParityOptions(const ParityOptions&) = delete;
  ParityOptions& operator=(const ParityOptions&) = delete;
};
// Is the option one that users see?
bool is_public(const OptionSpec& option);
// The words that users see.
std::vector<std::string> public_words(const OptionSpec& option);

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

// "name=value,name=value" against these options; what is not given has its default. where: begins the sentence of an
// error. Throws FC_ERROR_ARGUMENT: unknown option, given twice, value out of range (names both and the range).
Options parse_options(const std::vector<OptionSpec>& known, const std::string& text,
                      const std::string& where);

}  // namespace flowcache
