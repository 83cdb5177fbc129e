// SPDX-License-Identifier: LGPL-2.1-or-later
// Which layer of a model a name in a LoRA means. Trainers prepend words, write "_" for ".", leave the
// wrappers that they train in, and use diffusers' names of Wan's layers; the model's own names decide what is
// meant.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "package/safetensors.h"

namespace flowcache {

class LayerNames {
 public:
  // Of the layers that have a weight, a bias or a modulation among `weights`.
  explicit LayerNames(const WeightMap& weights);
  // The layer as the model spells it; "" if none is meant.
  std::string find(std::string_view spelled) const;

 private:
  void add(const std::string& spelling, const std::string& layer);
  std::map<std::string, std::string, std::less<>> layers_;  // "_" for "." -> layer; "": more than one
};

}  // namespace flowcache
