// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdio>

#include "case.h"
#include "networks/text/prompt_cleaning.h"
#include "networks/text/sentencepiece_tokenizer.h"
#include "networks/text/t5.h"

namespace golden {
namespace {

void encode(Case& one) {
  const auto config = flowcache::T5Config::from_json(one.config());
  const flowcache::T5Encoder encoder(config, one.weights(), at::kFloat, one.device(), one.folder().string());
  for (const auto& call : one.calls()) {
    const at::Tensor mask = one.tensor(call.at("mask"));
    const at::Tensor all = encoder.encode(one.tensor(call.at("ids")), mask);
    const at::Tensor real = mask.ne(0);
    const std::string hidden = call.at("hidden");
    // Some projects keep the rows of padding tokens, some cut them off.
    one.compare(one.tensor(hidden).size(0) == all.size(0) ? all : all.index({real}), hidden);
    if (call.contains("context")) one.compare(all * real.unsqueeze(1), call.at("context"));
  }
}

void tokenize(Case& one) {
  const flowcache::SentencePieceTokenizer tokenizer(one.folder() / "spiece.model");
  const int64_t max_length = one.config().at("max_length");
  one.check(tokenizer.vocabulary() == one.config().at("vocab_size"), "vocabulary size");
  size_t cleaned_alike = 0;
  for (const auto& call : one.calls()) {
    const std::string text = call.at("text");
    one.check(tokenizer.encode(text, max_length) == call.at("raw").get<std::vector<int64_t>>(),
              "raw ids of: " + text);
    const std::string cleaned = flowcache::plain_prompt(text);
    if (cleaned != call.at("cleaned")) {
      std::printf("             cleaned \"%s\" -> \"%s\", the reference has \"%s\"\n", text.c_str(),
                  cleaned.c_str(), call.at("cleaned").get<std::string>().c_str());
      continue;
    }
    ++cleaned_alike;
    one.check(tokenizer.encode(cleaned, max_length) == call.at("ids").get<std::vector<int64_t>>(),
              "ids of the cleaned: " + text);
  }
  std::printf("             %zu of %zu texts are cleaned as the reference does\n", cleaned_alike,
              one.calls().size());
}

}  // namespace

void register_text(Handlers& handlers) {
  handlers["t5-encode"] = encode;
  handlers["umt5-encode"] = encode;
  handlers["tokenize"] = tokenize;
}

}  // namespace golden
