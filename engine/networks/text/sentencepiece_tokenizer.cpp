// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <string>

#include "error.h"

namespace flowcache {

struct SentencePieceTokenizer::Impl {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceTokenizer::SentencePieceTokenizer(const std::filesystem::path& file)
    : impl_(std::make_unique<Impl>()) {
  if (!std::filesystem::is_regular_file(file))
    throw Error(FC_ERROR_NOT_FOUND, "tokenizer " + file.string() +
                                        " does not exist: download it beside the text encoder's weights");
  const auto status = impl_->processor.Load(file.string());
  if (!status.ok())
    throw Error(FC_ERROR_MODEL,
                "tokenizer " + file.string() + " is not a SentencePiece model: " + status.ToString());
  if (impl_->processor.eos_id() < 0)
    throw Error(FC_ERROR_MODEL, "tokenizer " + file.string() +
                                    " has no end-of-sequence piece: it is not the tokenizer of a T5 encoder");
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

std::vector<int64_t> SentencePieceTokenizer::encode(std::string_view text, int64_t max_length) const {
  if (max_length < 1)
    throw Error(FC_ERROR_ARGUMENT,
                "tokenizer: max_length " + std::to_string(max_length) + " must be at least 1");
  std::vector<int> pieces;
  const auto status = impl_->processor.Encode(std::string(text), &pieces);
  if (!status.ok()) throw Error(FC_ERROR_INTERNAL, "tokenizer: " + status.ToString());
  if (static_cast<int64_t>(pieces.size()) > max_length - 1)
    pieces.resize(static_cast<size_t>(max_length - 1));
  std::vector<int64_t> ids(pieces.begin(), pieces.end());
  ids.push_back(impl_->processor.eos_id());
  return ids;
}

int64_t SentencePieceTokenizer::pad_id() const {
  return std::max(impl_->processor.pad_id(), 0);
}

int64_t SentencePieceTokenizer::vocabulary() const {
  return impl_->processor.GetPieceSize();
}

}  // namespace flowcache
