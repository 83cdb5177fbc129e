// SPDX-License-Identifier: LGPL-2.1-or-later
// A model family answers every question on which models differ. "family" in model.json names it. A new family
// is a folder with an object of this class, and a line in families.cpp (docs/add-a-family.md).
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

// How a family uses the frames that a video continues (stream/initial_frames.h).
struct InitialFramesRule {
  bool part_of_chunk = false;  // frames that fill no whole chunk are allowed; they replace those of chunk 0
  bool image_only = false;     // of these only a single one, an image
  bool own_timesteps =
      false;         // each latent frame has its own timestep, and the latent keeps the given frames
  double noise = 0;  // timestep of the given frames, 0..1000; that much noise is mixed into them
};

// Constant and thread-safe.
class Family {
 public:
  virtual ~Family() = default;

  // config: the checkpoint's config.json. weights: its tensors by key. Throws FC_ERROR_MODEL for a field that
  // is out of range, a variant that is not supported, and keys that do not fit; the message lists all of
  // these.
  virtual std::unique_ptr<Transformer> make_transformer(const nlohmann::json& config, WeightMap weights,
                                                        Precision precision, at::Device device) const = 0;
  // A key that every checkpoint of this family has and no other architecture has.
  virtual const char* telling_key() const = 0;

  // The prompt in the form that the family's text encoder was trained on.
  virtual std::string clean_prompt(std::string_view prompt) const;
  // Further fields that "sampler" in model.json may have for this family.
  virtual std::vector<std::string> sampler_fields() const { return {}; }
  // The number of sets of keys and values that a guidance branch keeps. config: as above.
  virtual int key_value_sets(const nlohmann::json& /*config*/) const { return 1; }
  // TransformerShape.time_frequencies of a transformer with heads of this width.
  virtual std::vector<double> time_frequencies(int64_t /*head_dim*/) const { return {}; }
  // Throws FC_ERROR_ARGUMENT for a guidance_scale that the family cannot use.
  virtual void check_guidance(double /*scale*/) const {}
  virtual InitialFramesRule initial_frames(const ModelPackage&) const { return {}; }
};

// The family that the package names. Throws FC_ERROR_MODEL for an unknown name; the message lists the known
// ones.
const Family& family_of(const ModelPackage& package);

// The families whose checkpoints have keys like these, as text for messages ("skyreels, wan"), and the key
// that shows it. Both are empty if there is none.
struct KeyMatch {
  std::string families, key;
};
KeyMatch families_with_keys(const WeightMap& weights);

// As read_package(), but also knows the fields of the families. Throws the same errors, and FC_ERROR_MODEL as
// family_of().
ModelPackage read_model(const std::filesystem::path& given);

}  // namespace flowcache
