// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the pickles that torch.save writes. A pickle is a program: it may name any function of Python and have it
// called. Nothing is called here. A call becomes a value that says what was to be called, and a name that no
// file of weights has a use for ends the reading.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowcache {

// Values refer to each other by their places in Pickle::values, as they may do so in circles.
struct PickleValue {
  enum class Kind { none, boolean, integer, real, text, tuple, list, dict, global, call, reference };
  Kind kind = Kind::none;
  int64_t integer = 0;          // also 0 and 1 of a boolean
  std::string text;             // of a global: "module.name"
  std::vector<uint32_t> parts;  // tuple, list; call: callee, arguments; reference: its id
  std::vector<std::pair<uint32_t, uint32_t>> items;  // of a dict, or of what a call made
};

struct Pickle {
  std::vector<PickleValue> values;
  uint32_t root = 0;
  const PickleValue& operator[](uint32_t place) const { return values[place]; }
};

// allowed: whether a global may be named. Throws FC_ERROR_MODEL, with `file`, for a global that may not, an opcode
// that torch.save never writes, and a damaged or overlong pickle.
Pickle read_pickle(std::string_view data, const std::string& file,
                   const std::function<bool(const std::string& global)>& allowed);

}  // namespace flowcache
