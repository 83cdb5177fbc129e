// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/words.h"

#include <iomanip>
#include <locale>
#include <sstream>

namespace flowcache {

std::string megabytes(uint64_t bytes) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  const int digits = bytes < 1'000'000 ? 3 : bytes < 100'000'000 ? 1 : 0;
  text << std::fixed << std::setprecision(digits) << static_cast<double>(bytes) / 1e6 << " MB";
  return text.str();
}

std::string number(double value) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << value;
  return text.str();
}

}  // namespace flowcache
