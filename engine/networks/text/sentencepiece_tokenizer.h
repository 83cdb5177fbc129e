// SPDX-License-Identifier: LGPL-2.1-or-later
// The tokenizer of UMT5 and T5: a SentencePiece model file (`spiece.model`), read by the SentencePiece
// library, which is opened for the first of them (piece_model.h).
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

  // Pieces of `text` (valid UTF-8), cut to max_length - 1 of them, then the end of sequence: 1..max_length
  // ids, no padding. Cleaning is the caller's business (prompt_cleaning.h).
  std::vector<int64_t> encode(std::string_view text, int64_t max_length) const;

  // How many bytes of `text`, from its start, encode() looks at before it has max_length ids.
  size_t fits(std::string_view text, int64_t max_length) const;
  // Is any piece of `text` in the vocabulary?
  bool knows(std::string_view text) const;

  int64_t pad_id() const;  // 0 where the model names none
  int64_t vocabulary() const;

 private:
  std::unique_ptr<PieceModel> model_;
};

}  // namespace flowcache
