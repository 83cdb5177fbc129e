// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory-mapped safetensors files (https://huggingface.co/docs/safetensors): the header's length in 8 bytes,
// the header as JSON, raw data.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace flowcache {

// Name -> tensor. Tensors are read-only views of the mapped file. The mapping lives as long as any of them.
using WeightMap = std::map<std::string, at::Tensor, std::less<>>;

// Maps one file. Every offset, shape and size is checked against the file before a tensor is made. Throws
// FC_ERROR_MODEL, with the file, the key and both figures, for a file that is cut off, overlapping or
// otherwise wrong; FC_ERROR_NOT_FOUND if the file cannot be opened.
WeightMap read_safetensors(const std::filesystem::path& file);
WeightMap read_safetensors(const std::shared_ptr<class Mapping>& mapping);

// A key that a network wants. In `shape`, -1 matches any size.
struct WeightSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool optional = false;
};

// Thrown where the weights of a file are not those that a network wants.
class UnfitWeights : public Error {
 public:
  UnfitWeights(const std::string& message, std::vector<WeightSpec> wanted)
      : Error(FC_ERROR_MODEL, message), wanted_(std::move(wanted)) {}
  const std::vector<WeightSpec>& wanted() const { return wanted_; }

 private:
  std::vector<WeightSpec> wanted_;
};

// Compares what is there with what is wanted. Throws one UnfitWeights that counts, and names the first of
//   keys that are missing, unexpected, misshaped or hold no floating-point numbers,
//   bf16 among fp16: files of different checkpoints were mixed. fp32 beside either of them is normal.
// what: for the message, such as "transformer of /path/model.json".
void check_weights(const WeightMap& weights, const std::vector<WeightSpec>& wanted, const std::string& what);

}  // namespace flowcache
