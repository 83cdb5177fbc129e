// SPDX-License-Identifier: LGPL-2.1-or-later
// The options of policies and their text form: "name=value,name=value".
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace flowcache {

// One option of a policy. Its value is a number within a range, one word of a list, or any text without a
// comma.
struct OptionSpec {
  std::string name;
  std::string help;
  double value = 0, min = 0, max = 0;  // for numbers: default, least and largest value
  std::vector<std::string> words;      // not empty: the value is one of these words; the first is the default
  bool whole = false;                  // for numbers: whole numbers only
  bool text = false;                   // the value is any text, "" by default; stored in Options::words
  bool parity = false;  // reproduces a fault of a reference code; unknown without ParityOptions
};

// While an object of this class exists, options with `parity`, and words that begin with "parity_", are known
// in this process. For tests and golden cases that compare with published code, including its faults. Not
// thread-safe.
class ParityOptions {
 public:
  ParityOptions();
  ~ParityOptions();
  ParityOptions(const ParityOptions&) = delete;
  ParityOptions& operator=(const ParityOptions&) = delete;
};
// True if users can give this option.
bool is_public(const OptionSpec& option);
// The words that users can give.
std::vector<std::string> public_words(const OptionSpec& option);

// An option for whole numbers from min to max, and one for a switch that is 0 or 1.
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

// Reads "name=value,name=value". An option that the text does not name has its default. `where` begins the
// message of an error. Throws FC_ERROR_ARGUMENT for an unknown option, one that is given twice, or a value
// out of range; the message names the option, the value and the range.
Options parse_options(const std::vector<OptionSpec>& known, const std::string& text,
                      const std::string& where);

}  // namespace flowcache
