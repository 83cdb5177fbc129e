// SPDX-License-Identifier: LGPL-2.1-or-later
// The SentencePiece library behind an interface, in a module of its own that is opened with RTLD_DEEPBIND.
//
// Why it is not simply linked: SentencePiece and LibTorch both define the symbol FLAGS_minloglevel, the one
// as an object of 32 bytes, the other as an int. In one process the loader would give both the same address,
// and SentencePiece would overwrite what lies behind LibTorch's int. One of the values there decides
// whether a failed allocation ends the process.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace flowcache {

// Thread-safe after load(). Throws nothing but std::bad_alloc.
class PieceModel {
 public:
  struct Piece {
    int id = 0;
    size_t end = 0;  // byte in the text at which what it stands for ends
  };
  virtual ~PieceModel() = default;
  // "", or why the file is no SentencePiece model.
  virtual std::string load(const std::string& file) = 0;
  virtual std::vector<Piece> encode(const std::string& text) const = 0;
  virtual bool is_unknown(int id) const = 0;
  // Negative where the model has none.
  virtual int eos_id() const = 0;
  virtual int pad_id() const = 0;
  virtual int size() const = 0;
};

// What the module exports, under this name.
extern "C" PieceModel* flowcache_piece_model();
constexpr const char* piece_model_function = "flowcache_piece_model";
constexpr const char* piece_model_file = "libflowcache-sentencepiece.so";

}  // namespace flowcache
