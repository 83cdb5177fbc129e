// SPDX-License-Identifier: LGPL-2.1-or-later
// From a prompt to the features that a transformer is conditioned on.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <string_view>
#include <vector>

namespace flowcache {

struct TextFeatures {
  at::Tensor embedding;  // [n, text_dim] fp32, n >= 1
  // Words of the prompt that have no effect: the model does not know them, or they stand behind the
  // last one that fits.
  std::vector<std::string> unknown;
};

// Thread-safe.
class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  // prompt: valid UTF-8. "" gives the unconditional features.
  virtual TextFeatures encode(std::string_view prompt) const = 0;
  // The words that it knows, for messages; empty if the vocabulary is open.
  virtual std::vector<std::string> vocabulary() const { return {}; }
};

}  // namespace flowcache
