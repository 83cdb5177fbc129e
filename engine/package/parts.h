// SPDX-License-Identifier: LGPL-2.1-or-later
// What a file of weights holds: which network, in which layout, of which shape. For flowcache adopt.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "package/naming.h"

namespace flowcache {

enum class PartKind {
  wan,
  magi,
  umt5,
  t5,
  wan_vae,
  wan22_vae,
  taehv,
  magi_vae,
  lora,
  special_tokens,
  unsupported,
  unknown
};

struct Part {
  PartKind kind = PartKind::unknown;
  std::string what;  // for people: "Wan transformer, 30 layers of width 1536"
  std::string
      layout;  // "names of diffusers", "under \"generator_ema.model.\""; "" for the network's own names
  std::string prefix;      // in front of the names
  nlohmann::json config;   // of model.json, as far as shapes tell it
  bool skyreels = false;   // a Wan transformer that is told the frame rate
  bool tokenizer = false;  // ComfyUI's copy of the tokenizer is in it
};

// The networks in a file, or in a set of shards; a file of a training holds several. weights: as read_weights() gives
// them, before scales are joined. One Part of kind unknown or unsupported, with `what` saying why, if none is known.
std::vector<Part> parts_of(WeightMap weights, const std::string& what);

}  // namespace flowcache
