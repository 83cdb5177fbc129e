// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompt to features.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <string_view>
#include <vector>

namespace flowcache {

struct TextFeatures {
  at::Tensor embedding;              // [n, text_dim] fp32, n >= 1
  std::vector<std::string> unknown;  // words of the prompt that have no effect: not known, or behind the last that fits
};

// Thread-safe.
class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  // `prompt` is valid UTF-8; "" gives the unconditional features.
  virtual TextFeatures encode(std::string_view prompt) const = 0;
  // The words it knows, for messages; empty where the vocabulary is open.
  virtual std::vector<std::string> vocabulary() const { return {}; }
};

}  // namespace flowcache
