// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts for UMT5-XXL (Wan, SkyReels-V2) and T5-v1.1-XXL (MAGI-1): cleaned, tokenized, encoded.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "networks/text/sentencepiece_tokenizer.h"
#include "networks/text/t5.h"
#include "networks/text/text_encoder.h"
#include "package/model.h"

namespace flowcache {

// What a text encoder of a kind computes in where model.json does not say: as its authors do. T5-v1.1 in fp32 (MAGI-1
// passes torch.float), UMT5 in bf16, but on a CPU in fp32, which is faster there.
constexpr const char* default_text_precision(std::string_view kind, bool on_cpu) {
  return kind == "t5" || on_cpu ? "fp32" : "bf16";
}

// model.json's "text" has kind "umt5" or "t5", file or files, config (the encoder's config.json), and these
// optional fields:
//   tokenizer       the SentencePiece file in the model's folder; default "spiece.model"
//   max_length      tokens, the end of sequence included; default 512 for umt5, 800 for t5
//   device          "model" (default: where the transformer is) or "cpu"
//   precision       "bf16" or "fp32"; see default_text_precision()
//   unload          true: weights are dropped after each new prompt and read again for the next one
//   special_tokens  t5 only: a safetensors file with MAGI-1's `other_tokens`. The tokens for an endless video
//                   of high quality then stand before the caption, as in the published scripts
//
// Thread-safe. Prompts are encoded one at a time, and the features of the last 64 are remembered.
class T5TextEncoder final : public TextEncoder {
 public:
  // Checks every key. Weights are copied to their device only when the first prompt comes. clean: what the
  // model's family does to a prompt before it is tokenized. Throws FC_ERROR_MODEL, FC_ERROR_NOT_FOUND.
  using Cleaner = std::function<std::string(std::string_view)>;
  T5TextEncoder(const ModelPackage& package, at::Device device, Cleaner clean);

  TextFeatures encode(std::string_view prompt) const override;

 private:
  at::Tensor run(const std::string& cleaned) const;
  std::vector<std::string> without_effect(std::string_view prompt, const std::string& cleaned) const;

  ModelPackage package_;
  T5Config config_;
  Cleaner clean_;
  bool unload_ = false;
  int64_t max_length_ = 0;
  at::Device device_ = at::kCPU;
  at::ScalarType dtype_ = at::kFloat;
  SentencePieceTokenizer tokenizer_;
  at::Tensor prefix_;  // [n, dim] fp32 on the CPU, undefined without special tokens

  mutable std::mutex mutex_;  // guards what follows
  mutable std::unique_ptr<T5Encoder> encoder_;
  mutable std::list<std::pair<std::string, at::Tensor>> recent_;  // newest first
};

}  // namespace flowcache
