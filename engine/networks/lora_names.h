// SPDX-License-Identifier: LGPL-2.1-or-later
// Which layer of a model a name in a LoRA file means. Trainers put words in front, write "_" for ".", leave
// in the names of wrappers, and use diffusers' names for Wan's layers. Names are resolved against those that
// the model really has.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "package/safetensors.h"

namespace flowcache {

class LayerNames {
 public:
  // Knows the layers that have a weight, a bias or a modulation among `weights`.
  explicit LayerNames(const WeightMap& weights);
  // The layer as the model spells it; "" if no layer is meant, or more than one could be.
  std::string find(std::string_view spelled) const;

 private:
  void add(const std::string& spelling, const std::string& layer);
  // Spelling with "_" for "." -> layer; "" if the spelling fits more than one.
  std::map<std::string, std::string, std::less<>> layers_;
};

}  // namespace flowcache
