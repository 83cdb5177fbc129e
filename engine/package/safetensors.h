// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory-mapped safetensors (https://huggingface.co/docs/safetensors): 8-byte header length, JSON header, raw data.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"

namespace flowcache {

// Name -> tensor. Tensors are read-only views of the mapped file, which lives as long as any of them.
using WeightMap = std::map<std::string, at::Tensor, std::less<>>;

// Maps one file. Every offset, shape and size is checked against the file before a tensor is made; a truncated,
// overlapping or otherwise hostile file throws FC_ERROR_MODEL that names the file, the key and both figures.
// FC_ERROR_NOT_FOUND if the file cannot be opened.
WeightMap read_safetensors(const std::filesystem::path& file);

// A key that a network wants. In `shape`, -1 matches any size.
struct WeightSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool optional = false;
};

// The weights of a file are not those that a network wants.
class UnfitWeights : public Error {
 public:
  UnfitWeights(const std::string& message, std::vector<WeightSpec> wanted)
      : Error(FC_ERROR_MODEL, message), wanted_(std::move(wanted)) {}
  const std::vector<WeightSpec>& wanted() const { return wanted_; }

 private:
  std::vector<WeightSpec> wanted_;
};

// Compares what is there with what is wanted and throws one UnfitWeights that lists every missing, unexpected and
// misshaped key, keys that hold no floating point or fp8, and bf16 among fp16: files of different checkpoints. fp32
// beside either is how checkpoints are published. `what`: "transformer of /path/model.json", for the message.
void check_weights(const WeightMap& weights, const std::vector<WeightSpec>& wanted, const std::string& what);

}  // namespace flowcache
