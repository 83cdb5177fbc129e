// SPDX-License-Identifier: LGPL-2.1-or-later
// A model family: all that the engine asks where models differ. "family" of model.json names it. A new family is a
// folder with an object of this class, and a line in families.cpp (docs/add-a-family.md).
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "networks/matrix.h"
#include "networks/transformer.h"
#include "package/model.h"

namespace flowcache {

// How a family takes frames that a video goes on from (stream/initial_frames.h).
struct InitialFramesRule {
  bool part_of_chunk = false;  // they need not fill whole chunks: the rest lies over the start of chunk 0
  bool own_timesteps =
      false;         // each latent frame has a timestep; the latent keeps the given frames to the end
  double noise = 0;  // timestep of the given frames, of 1000: so much noise is mixed into them
};

// Constant and thread-safe.
class Family {
 public:
  virtual ~Family() = default;

  // config: the checkpoint's config.json; weights: its keys. Throws FC_ERROR_MODEL: a field out of range, a variant
  // that is not built, and all keys that do not fit.
  virtual std::unique_ptr<Transformer> make_transformer(const nlohmann::json& config, WeightMap weights,
                                                        Precision precision, at::Device device) const = 0;
  // A key of every checkpoint of this family and of no other architecture.
  virtual const char* telling_key() const = 0;

  // The prompt as the family's text encoder was trained on it.
  virtual std::string clean_prompt(std::string_view prompt) const;
  // Fields that model.json's "sampler" may have for this family beside those that all have.
  virtual std::vector<std::string> sampler_fields() const { return {}; }
  // How many sets of keys and values a guidance branch keeps. config: as above.
  virtual int key_value_sets(const nlohmann::json& /*config*/) const { return 1; }
  // Throws FC_ERROR_ARGUMENT for a guidance_scale that the family cannot take.
  virtual void check_guidance(double /*scale*/) const {}
  virtual InitialFramesRule initial_frames(const ModelPackage&) const { return {}; }
};

// Throws FC_ERROR_MODEL for a name that no family has; the message lists those that exist.
const Family& family_of(const ModelPackage& package);

// Whose checkpoints have keys like these: words of a message ("skyreels, wan"), and the key that tells; empty if none has.
struct KeyMatch {
  std::string families, key;
};
KeyMatch families_with_keys(const WeightMap& weights);

// read_package() that also knows the families' own fields. Same errors, and FC_ERROR_MODEL as family_of().
ModelPackage read_model(const std::filesystem::path& given);

}  // namespace flowcache
