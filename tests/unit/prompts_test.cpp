// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/prompts.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace flowcache {
namespace {

// The prompt "3" becomes one row of threes; a prompt with an x is unknown.
class Numbers final : public TextEncoder {
 public:
  TextFeatures encode(std::string_view prompt) const override {
    TextFeatures features{at::full({2, 4}, prompt.empty() ? 0.0 : std::atof(std::string(prompt).c_str())),
                          {}};
    if (prompt.find('x') != std::string_view::npos) features.unknown = {"x"};
    return features;
  }
};

double value(const ChunkPrompt& prompt) {
  return prompt.features[0][0].item<double>();
}

TEST(Prompts, UnicodeIsCheckedByteByByte) {
  for (const std::string& good :
       {std::string(), std::string("fire"), std::string("feu d’été 火"), std::string(8192, 'a')})
    EXPECT_NO_THROW(check_prompt(good));
  for (const std::string& bad :
       {std::string("\xff"), std::string("a\x80"), std::string("\xc0\xaf"), std::string("\xe2\x82"),
        std::string("\xed\xa0\x80"), std::string("\xf5\x80\x80\x80"), std::string("\xe0\x80\x80"),
        std::string("a\0b", 3), std::string(8193, 'a')})
    EXPECT_THROW(check_prompt(bad), Error) << bad.size();
}

TEST(Prompts, AChangeHoldsFromTheNextChunkAndCarriesItsTicket) {
  Numbers encoder;
  Prompts prompts(encoder, "1");
  EXPECT_EQ(value(prompts.take(0)), 1);
  const uint64_t ticket = prompts.change("2", FC_NEXT_CHUNK, 0);
  EXPECT_GT(ticket, 0u);
  const ChunkPrompt changed = prompts.take(1);
  EXPECT_EQ(value(changed), 2);
  EXPECT_EQ(changed.ticket, ticket);
  EXPECT_TRUE(changed.changed);
  EXPECT_FALSE(prompts.take(2).changed);
}

TEST(Prompts, AChunkInThePastMeansTheNextOne) {
  Numbers encoder;
  Prompts prompts(encoder, "1");
  prompts.take(0);
  prompts.take(1);
  prompts.change("2", 0, 0);
  EXPECT_EQ(value(prompts.take(2)), 2);
}

TEST(Prompts, ChangesForDifferentChunksStandSideBySideInAnyOrderOfCalls) {
  Numbers encoder;
  Prompts prompts(encoder, "1");
  prompts.change("3", 7, 0);
  prompts.change("2", 5, 0);
  prompts.change("4", 5, 0);  // replaces the 2
  prompts.change("9", FC_NEXT_CHUNK, 0);
  int64_t chunk = 0;
  for (const double wanted : {9, 9, 9, 9, 9, 4, 4, 3, 3}) {
    EXPECT_EQ(value(prompts.take(chunk)), wanted) << chunk;
    ++chunk;
  }
}

// From what the last chunk showed, not from a prompt that never was fully shown.
TEST(Prompts, ABlendDuringABlendGoesOnFromWhereItIs) {
  Numbers encoder;
  Prompts prompts(encoder, "0");
  prompts.take(0);
  prompts.change("8", FC_NEXT_CHUNK, 3);
  EXPECT_EQ(value(prompts.take(1)), 2);
  prompts.change("0", FC_NEXT_CHUNK, 1);
  EXPECT_EQ(value(prompts.take(2)), 1);
  EXPECT_EQ(value(prompts.take(3)), 0);
}

TEST(Prompts, BlendMovesInEqualStepsAndArrives) {
  Numbers encoder;
  Prompts prompts(encoder, "0");
  prompts.take(0);
  prompts.change("8", FC_NEXT_CHUNK, 3);
  int64_t chunk = 1;
  for (const double wanted : {2.0, 4.0, 6.0, 8.0, 8.0}) {
    EXPECT_NEAR(value(prompts.take(chunk++)), wanted, 1e-6);
  }
}

TEST(Prompts, ACutDuringABlendIsACut) {
  Numbers encoder;
  Prompts prompts(encoder, "0");
  prompts.take(0);
  prompts.change("8", FC_NEXT_CHUNK, 3);
  prompts.take(1);
  prompts.change("1", FC_NEXT_CHUNK, 0);
  EXPECT_EQ(value(prompts.take(2)), 1);
  EXPECT_EQ(value(prompts.take(3)), 1);
}

TEST(Prompts, ARecacheDuringABlendIsNoCutAndShowsAtOnce) {
  Numbers encoder;
  Prompts prompts(encoder, "0");
  prompts.take(0);
  prompts.change("8", FC_NEXT_CHUNK, 3);
  EXPECT_FALSE(prompts.take(1).recache);
  prompts.change("1", FC_NEXT_CHUNK, FC_PROMPT_RECACHE);
  const ChunkPrompt first = prompts.take(2);
  EXPECT_EQ(value(first), 1);
  EXPECT_TRUE(first.recache && first.changed);
  EXPECT_FALSE(first.cut);
  const ChunkPrompt second = prompts.take(3);
  EXPECT_EQ(value(second), 1);
  EXPECT_FALSE(second.recache || second.changed || second.cut);
}

TEST(Prompts, RestartKeepsThePromptInForceAndForgetsTheQueue) {
  Numbers encoder;
  Prompts prompts(encoder, "1");
  prompts.take(0);
  prompts.change("2", FC_NEXT_CHUNK, 0);
  prompts.take(1);
  prompts.change("3", 9, 0);
  prompts.restart();
  for (int64_t chunk = 0; chunk < 12; ++chunk) EXPECT_EQ(value(prompts.take(chunk)), 2);
}

TEST(Prompts, UnknownWordsAreThoseOfTheLastPrompt) {
  Numbers encoder;
  Prompts prompts(encoder, "1 x");
  EXPECT_EQ(prompts.unknown_words(), std::vector<std::string>{"x"});
  prompts.change("2", FC_NEXT_CHUNK, 0);
  EXPECT_TRUE(prompts.unknown_words().empty());
}

}  // namespace
}  // namespace flowcache
