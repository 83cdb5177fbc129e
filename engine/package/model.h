// SPDX-License-Identifier: LGPL-2.1-or-later
// What a model is on disk: a folder with model.json and safetensors files.
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

// model.json after validation. Sections that belong to one room (a network's config, …) stay JSON and are
// read there.
struct ModelPackage {
  std::filesystem::path folder;
  std::string name, family, description, license;

  int64_t width = 0, height = 0;  // pixels; the native size
  PictureSizes sizes;             // those that it draws
  int64_t fps_n = 0, fps_d = 1;
  int64_t latent_frames_per_chunk = 0, frames_per_chunk = 0;
  int64_t latent_channels = 0, latent_height = 0, latent_width = 0;  // of the native size

  nlohmann::json transformer;    // {file | files, config}
  nlohmann::json text;           // {kind, file, …}
  nlohmann::json decoder;        // {kind, file, config}
  nlohmann::json sampler;        // {kind, steps, shift, …}
  nlohmann::json cache;          // {reuse, threshold, kv, history_chunks, …}
  nlohmann::json sources;        // file -> where it is published
  int64_t seam_fade_frames = 0;  // frames over which a jump between chunks is faded in; 0: not at all
  bool clean_context = false;    // run a finished chunk once more at timestep 0 to write its history KV

  bool random_weights = false;  // the shapes that model.json describes, filled at random: no file is read

  uint64_t weight_bytes() const;  // sizes of the files that it names; 0 for random weights
};

// A picture in pixels, and what it is in the latent.
struct PictureSize {
  Pixels pixels;
  int64_t latent_width = 0, latent_height = 0;
};

// The size that was asked for; 0 and 0: the native one. Errors: as checked_size().
PictureSize picture_size(const ModelPackage& package, int64_t width, int64_t height);

// The same model with another native size: what it takes then. Errors: as checked_size().
ModelPackage at_size(const ModelPackage& package, int64_t width, int64_t height);

// The fields of "sampler" that a family has beside those of all.
using OwnFields = std::function<std::vector<std::string>(const std::string& family)>;

// Reads and validates folder/model.json (folder may also name the file). Opens no weights. "random:FOLDER" is
// the same model with random weights, to exercise its shapes without a checkpoint. Errors: NOT_FOUND (no such
// folder or no model.json: says what was looked for), MODEL (field, value, what is wanted).
ModelPackage read_package(const std::filesystem::path& given, const OwnFields& own = {});

// Size of a section's "file" or "files". FC_ERROR_NOT_FOUND names one that cannot be read.
uint64_t section_bytes(const ModelPackage& package, const nlohmann::json& section);

// All tensors of a section's "file" or "files".
WeightMap read_section(const ModelPackage& package, const nlohmann::json& section);

}  // namespace flowcache
