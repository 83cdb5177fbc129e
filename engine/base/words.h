// SPDX-License-Identifier: LGPL-2.1-or-later
// Texts of values, for messages.
#pragma once

#include <cstdint>
#include <string>

namespace flowcache {

// "0.262 MB" below 1 MB, "12.3 MB" below 100 MB, "863 MB" above; 1 MB is a million bytes.
std::string megabytes(uint64_t bytes);
// As printf's %g in the C locale: "0.25", "1e-06".
std::string number(double value);
// "16 x 3 x 60 x 104"; sizes: any range of integers.
template <typename Sizes>
std::string shape_text(const Sizes& sizes) {
  std::string text;
  for (const auto size : sizes) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

}  // namespace flowcache
