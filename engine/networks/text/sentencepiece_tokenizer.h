// SPDX-License-Identifier: LGPL-2.1-or-later
// The tokenizer of UMT5 and T5: a SentencePiece model file (`spiece.model`), read by the SentencePiece
// library.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

namespace flowcache {

// Thread-safe after construction.
class SentencePieceTokenizer {
 public:
  // FC_ERROR_NOT_FOUND if the file cannot be opened, FC_ERROR_MODEL if it is no SentencePiece model or has no
  // end-of-sequence piece.
  explicit SentencePieceTokenizer(const std::filesystem::path& file);
  ~SentencePieceTokenizer();

  // Pieces of `text` (valid UTF-8), cut to max_length - 1 of them, then the end of sequence: 1..max_length
  // ids, no padding. Cleaning is the caller's business (prompt_cleaning.h).
  std::vector<int64_t> encode(std::string_view text, int64_t max_length) const;

  int64_t pad_id() const;  // 0 where the model names none
  int64_t vocabulary() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flowcache
