// SPDX-License-Identifier: LGPL-2.1-or-later
// What a model is on disk: a folder with model.json and files of weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "package/safetensors.h"
#include "package/sizes.h"

namespace flowcache {

// model.json after validation. Sections that only one room reads, such as a network's config, stay JSON.
struct ModelPackage {
  std::filesystem::path folder;
  std::string name, family, description, license;

  int64_t width = 0, height = 0;  // the native size, pixels
  PictureSizes sizes;             // the sizes that the model draws
  int64_t fps_n = 0, fps_d = 1;
  int64_t latent_frames_per_chunk = 0, frames_per_chunk = 0;
  int64_t latent_channels = 0, latent_height = 0, latent_width = 0;  // of the native size

  nlohmann::json transformer;      // {file | files, key, config, loras}
  nlohmann::json text;             // {kind, file, …}
  nlohmann::json decoder;          // {kind, file, config}
  nlohmann::json encoder;          // {kind, file, config}; null: the decoder's files hold it, if there is one
  nlohmann::json sampler;          // {kind, steps, shift, …}
  nlohmann::json cache;            // {reuse, threshold, kv, history_chunks, …}
  nlohmann::json sources;          // file name -> where the file is published
  int64_t seam_fade_frames = 0;    // most frames over which a jump between chunks is faded in; 0: none
  int64_t latent_fade_frames = 0;  // the same between two latent frames of a chunk
  std::string negative_prompt;     // what guidance keeps away from unless a stream says otherwise
  bool clean_context = false;      // true: a finished chunk runs once more at timestep 0, for its history

  bool random_weights = false;  // true: weights are random in the shapes of model.json; no other file is read

  uint64_t weight_bytes() const;  // of all weight files together; 0 for random weights
};

// The size of a picture in pixels, and of its latent.
struct PictureSize {
  Pixels pixels;
  int64_t latent_width = 0, latent_height = 0;
};

// The size that was asked for; 0 and 0 mean the native one. Throws as checked_size() does.
PictureSize picture_size(const ModelPackage& package, int64_t width, int64_t height);

// The same package with another native size, to plan memory for that size. Throws as checked_size() does.
ModelPackage at_size(const ModelPackage& package, int64_t width, int64_t height);

// The fields of "sampler" that only this family has.
using OwnFields = std::function<std::vector<std::string>(const std::string& family)>;

// Reads and validates the model.json of a folder; `given` may also name the file itself. Opens no weights.
// "random:FOLDER" is the same model with random weights, to run its shapes without a checkpoint.
// Throws FC_ERROR_NOT_FOUND, with what was looked for, if there is no such folder or no model.json in it;
// FC_ERROR_MODEL with the field, its value and what is wanted.
ModelPackage read_package(const std::filesystem::path& given, const OwnFields& own = {});

// Bytes of a section's weights as 16-bit floats, from the headers of its files. Throws as read_section() does.
uint64_t section_bytes(const ModelPackage& package, const nlohmann::json& section);

// All tensors of a section's "file" or "files", of any format (weights_file.h): those under its "key", if it has one,
// by the names that the files give them. Throws as read_weights() does, and FC_ERROR_MODEL for a name that is in two
// files.
WeightMap read_section(const ModelPackage& package, const nlohmann::json& section);

}  // namespace flowcache
