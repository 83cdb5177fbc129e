// SPDX-License-Identifier: LGPL-2.1-or-later
// The tokenizer of UMT5 and T5. It reads a SentencePiece model file (`spiece.model`) with the SentencePiece
// library, which is opened when the first tokenizer is made (piece_model.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

namespace flowcache {

class PieceModel;

// Thread-safe after construction.
class SentencePieceTokenizer {
 public:
  // FC_ERROR_NOT_FOUND if the file or the library cannot be opened, FC_ERROR_MODEL if it is no SentencePiece
  // model or has no end-of-sequence piece.
  explicit SentencePieceTokenizer(const std::filesystem::path& file);
  ~SentencePieceTokenizer();

  // The ids of the first max_length - 1 pieces of `text` (valid UTF-8) and the end of sequence: 1..max_length
  // ids, without padding. The caller cleans the text before (prompt_cleaning.h).
  std::vector<int64_t> encode(std::string_view text, int64_t max_length) const;

  // How many bytes of `text`, from its start, the ids of encode() stand for.
  size_t fits(std::string_view text, int64_t max_length) const;
  // Is any piece of `text` in the vocabulary?
  bool knows(std::string_view text) const;

  int64_t pad_id() const;  // 0 if the model names none
  int64_t vocabulary() const;

 private:
  std::unique_ptr<PieceModel> model_;
};

}  // namespace flowcache
