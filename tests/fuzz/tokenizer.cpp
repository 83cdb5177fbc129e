// SPDX-License-Identifier: LGPL-2.1-or-later
// A cleaned prompt through SentencePiece, with the small model of the golden tests.
#include "base/unicode.h"
#include "fuzz.h"
#include "networks/text/prompt_cleaning.h"
#include "networks/text/sentencepiece_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  static const SentencePieceTokenizer tokenizer(FLOWCACHE_SOURCE_DIR
                                                "/tests/golden/umt5-tokenize/spiece.model");
  const std::string text = plain_prompt(fuzz::text_of(data, size));
  for (const int64_t most : {1, 2, 16, 512}) {
    const std::vector<int64_t> ids = tokenizer.encode(text, most);
    FUZZ_REQUIRE(!ids.empty() && static_cast<int64_t>(ids.size()) <= most);
    for (const int64_t id : ids) FUZZ_REQUIRE(id >= 0 && id < tokenizer.vocabulary());
    const size_t fits = tokenizer.fits(text, most);
    FUZZ_REQUIRE(fits <= text.size());
    FUZZ_REQUIRE(decode_utf8(text.substr(0, fits)));
  }
  FUZZ_REQUIRE(!text.empty() || !tokenizer.knows(text));
  return 0;
}
