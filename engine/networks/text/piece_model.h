// SPDX-License-Identifier: LGPL-2.1-or-later
// The SentencePiece library behind an interface, in a module that is opened with RTLD_DEEPBIND. Linked beside
// LibTorch it would define FLAGS_minloglevel a second time, as an object of 32 bytes where LibTorch's is an
// int: the loader makes one of the two, and what lies behind the int is overwritten, such as the switch that
// has failed allocations end the process.
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
    size_t end = 0;  // of what it stands for in the text, bytes
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
