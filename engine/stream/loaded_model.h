// SPDX-License-Identifier: LGPL-2.1-or-later
// A model on a device: everything that streams share. Immutable after load(); thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "families/preflight.h"
#include "networks/decoders/decoder.h"
#include "networks/text/text_encoder.h"
#include "networks/transformer.h"
#include "package/model.h"

namespace flowcache {

struct LoadOptions {
  std::string model;              // read_model()
  std::string device;             // choose_device()
  std::string precision;          // choose_precision()
  uint32_t threads = 0;           // checked_threads()
  uint64_t memory_limit = 0;      // bytes; 0: what is free
  int64_t slice_tokens = 0;       // Transformer::slice_tokens()
  int64_t width = 0, height = 0;  // of the pictures that are planned for; 0: native
};

// stage, fraction of the whole; false cancels.
using Progress = std::function<bool(const char* stage, double fraction)>;

struct LoadedModel {
  ModelPackage package;
  at::Device device = at::kCPU;
  at::ScalarType compute = at::kFloat, weights = at::kFloat;  // the two halves of a Precision
  unsigned threads = 1;  // of a stream's arithmetic; fixed, as results depend on it
  uint64_t memory_limit = 0;
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<TextEncoder> text;

  // Errors: as fc_engine_open().
  static std::shared_ptr<const LoadedModel> load(const LoadOptions& options, const Progress& progress);

  // Of this model on its device with one stream of its own settings and this size (0: native); needs the
  // package, device and compute only.
  std::vector<MemoryNeed> memory_needs(int64_t width, int64_t height) const;

  int64_t tokens_per_frame(const PictureSize& size) const;
  int64_t tokens_per_chunk(const PictureSize& size) const;
  // Bytes that may still be taken on the device, within the limit that was given.
  uint64_t memory_available() const;
};

}  // namespace flowcache
