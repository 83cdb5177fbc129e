// SPDX-License-Identifier: LGPL-2.1-or-later
// A prompt of any bytes through MAGI-1's cleaner, which is made of regular expressions.
#include "base/unicode.h"
#include "families/magi/prompt_cleaning.h"
#include "fuzz.h"
#include "networks/text/prompt_cleaning.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  const std::string clean = clean_magi_prompt(fuzz::text_of(data, size));
  FUZZ_REQUIRE_WITH(!first_bad_byte(clean), clean);
  FUZZ_REQUIRE(collapse_whitespace(clean) == clean);
  return 0;
}
