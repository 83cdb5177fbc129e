// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/sentencepiece_tokenizer.h"

#include <dlfcn.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "networks/text/piece_model.h"

namespace flowcache {
namespace {

// AddressSanitizer and ThreadSanitizer end a program that asks for RTLD_DEEPBIND. Built with them it does without, so that
// the two objects of one name are one there (piece_model.h).
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kModuleApart = 0;
#else
constexpr int kModuleApart = RTLD_DEEPBIND;
#endif

// Beside the file that this code is in, or from a test's folder in the folder of the engine.
std::unique_ptr<PieceModel> open_module() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&open_module), &info) == 0 || !info.dli_fname) info.dli_fname = "./";
  const auto folder = std::filesystem::path(info.dli_fname).parent_path();
  std::string reasons;
  for (const auto& place : {folder, folder / "../../engine"}) {
    const std::string file = (place / piece_model_file).string();
    void* module = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | kModuleApart);  // and never closed
    if (!module) {
      reasons += (reasons.empty() ? "" : "; ") + std::string(dlerror());
      continue;
    }
    if (void* make = dlsym(module, piece_model_function))
      return std::unique_ptr<PieceModel>(reinterpret_cast<PieceModel* (*)()>(make)());
  }
  throw Error(FC_ERROR_NOT_FOUND,
              "the tokenizer's library cannot be opened: " + reasons + ": install the engine whole");
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file))
    throw Error(FC_ERROR_NOT_FOUND, "tokenizer " + file.string() +
                                        " does not exist: download it beside the text encoder's weights");
  model_ = open_module();
  if (const std::string problem = model_->load(file.string()); !problem.empty())
    throw Error(FC_ERROR_MODEL, "tokenizer " + file.string() + " is not a SentencePiece model: " + problem);
  if (model_->eos_id() < 0)
    throw Error(FC_ERROR_MODEL, "tokenizer " + file.string() +
                                    " has no end-of-sequence piece: it is not the tokenizer of a T5 encoder");
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

std::vector<int64_t> SentencePieceTokenizer::encode(std::string_view text, int64_t max_length) const {
  if (max_length < 1)
    throw Error(FC_ERROR_ARGUMENT,
                "tokenizer: max_length " + std::to_string(max_length) + " must be at least 1");
  std::vector<int64_t> ids;
  for (const PieceModel::Piece& piece : model_->encode(std::string(text))) {
    if (static_cast<int64_t>(ids.size()) == max_length - 1) break;
    ids.push_back(piece.id);
  }
  ids.push_back(model_->eos_id());
  return ids;
}

size_t SentencePieceTokenizer::fits(std::string_view text, int64_t max_length) const {
  const auto pieces = model_->encode(std::string(text));
  if (static_cast<int64_t>(pieces.size()) <= max_length - 1) return text.size();
  return max_length > 1 ? std::min(pieces[static_cast<size_t>(max_length - 2)].end, text.size()) : 0;
}

bool SentencePieceTokenizer::knows(std::string_view text) const {
  const auto pieces = model_->encode(std::string(text));
  return std::any_of(pieces.begin(), pieces.end(),
                     [&](const auto& piece) { return !model_->is_unknown(piece.id); });
}

int64_t SentencePieceTokenizer::pad_id() const {
  return std::max(model_->pad_id(), 0);
}

int64_t SentencePieceTokenizer::vocabulary() const {
  return model_->size();
}

}  // namespace flowcache
