// SPDX-License-Identifier: LGPL-2.1-or-later
// A prompt of any bytes: what cleaning makes of it is well-formed UTF-8.
#include "base/unicode.h"
#include "fuzz.h"
#include "networks/text/prompt_cleaning.h"
#include "networks/text/prompt_words.h"

namespace {

namespace fuzz = flowcache::fuzz;
using namespace flowcache;

void check_coding(std::string_view bytes) {
  const auto strict = decode_utf8(bytes);
  const std::u32string lossy = decode_utf8_lossy(bytes);
  const std::string again = encode_utf8(lossy);
  FUZZ_REQUIRE(decode_utf8(again) == lossy);
  FUZZ_REQUIRE(!strict || (*strict == lossy && again == bytes));
  const auto bad = first_bad_byte(bytes);
  FUZZ_REQUIRE(bad || strict);
  FUZZ_REQUIRE(!bad || *bad < bytes.size());
  FUZZ_REQUIRE(!bad || bytes[*bad] == '\0' || !strict);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view prompt = fuzz::text_of(data, size);
  check_coding(prompt);
  const bool valid = decode_utf8(prompt).has_value();
  FUZZ_REQUIRE(!valid || decode_utf8(html_unescape(prompt)));
  FUZZ_REQUIRE(html_unescape(prompt).size() <= size);
  FUZZ_REQUIRE(decode_utf8(repair_text(prompt)));
  const std::string folded = collapse_whitespace(prompt);
  FUZZ_REQUIRE(decode_utf8(folded) && collapse_whitespace(folded) == folded);
  const std::string clean = plain_prompt(prompt);
  FUZZ_REQUIRE_WITH(!first_bad_byte(clean), clean);
  FUZZ_REQUIRE(collapse_whitespace(clean) == clean);
  for (const std::string& word : prompt_words(prompt)) {
    FUZZ_REQUIRE(!word.empty() && decode_utf8(word));
    FUZZ_REQUIRE_WITH(prompt_words(word) == std::vector{word}, word);
  }
  return 0;
}
