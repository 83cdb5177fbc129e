// SPDX-License-Identifier: LGPL-2.1-or-later
// The module libflowcache-sentencepiece.so.
#include "networks/text/piece_model.h"

#include <sentencepiece_processor.h>

namespace flowcache {
namespace {

class SentencePiece final : public PieceModel {
 public:
  std::string load(const std::string& file) override {
    const auto status = processor_.Load(file);
    return status.ok() ? "" : status.ToString();
  }
  std::vector<Piece> encode(const std::string& text) const override {
    std::vector<Piece> pieces;
    const auto encoded = processor_.EncodeAsImmutableProto(text);  // owns what its pieces refer to
    for (const auto& piece : encoded.pieces()) pieces.push_back({static_cast<int>(piece.id()), piece.end()});
    return pieces;
  }
  bool is_unknown(int id) const override { return processor_.IsUnknown(id); }
  int eos_id() const override { return processor_.eos_id(); }
  int pad_id() const override { return processor_.pad_id(); }
  int size() const override { return processor_.GetPieceSize(); }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) PieceModel* flowcache_piece_model() {
  return new SentencePiece;
}

}  // namespace flowcache
