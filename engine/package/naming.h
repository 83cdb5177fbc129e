// SPDX-License-Identifier: LGPL-2.1-or-later
// Brings the names of a checkpoint into those that a network has. The same tensors are published under many: with words
// in front that say which model of several it is, with the wrappers of trainers in the middle, or in the names of
// another library.
#pragma once

#include <functional>
#include <span>

#include "package/safetensors.h"

namespace flowcache {

// The names of another library. `ours` makes of a key, whatever stands in front of it, the one that the network has;
// keys that mean nothing there come back as they are, and "" drops one.
struct Naming {
  const char* library;  // for messages and reports: "diffusers"
  std::function<std::string(const std::string& key, const WeightMap& all)> ours;
};

// How the names of a file were understood.
struct NameMatch {
  const Naming* naming = nullptr;  // none: the network's own names
  std::string prefix;              // what stood in front of the names: "model.diffusion_model."
  size_t found = 0, wanted = 0;    // of the keys that the network must have
};

// Takes the wrappers of FSDP, checkpointing and torch.compile out of a key, wherever they stand.
std::string without_wrappers(std::string key);

// The prefix and the naming with which most of the wanted keys are there. Throws FC_ERROR_MODEL where a file holds the
// whole network more than once, with what to write as "key".
NameMatch match_names(const WeightMap& weights, const std::vector<WeightSpec>& wanted,
                      std::span<const Naming> namings, const std::string& what);

// The weights under the names that are wanted. What lies outside of the prefix belongs to other networks and is left
// out. If hardly any key is found, the names stay as they are, and check_weights() says so. Throws as match_names()
// does.
WeightMap renamed(WeightMap weights, const std::vector<WeightSpec>& wanted, std::span<const Naming> namings,
                  const std::string& what);

}  // namespace flowcache
