// SPDX-License-Identifier: LGPL-2.1-or-later
// A model on a device, with everything that streams share. Immutable after load(); thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "cache/kv/kv_store.h"
#include "families/preflight.h"
#include "networks/decoders/decoder.h"
#include "networks/decoders/frame_encoder.h"
#include "networks/matrix.h"
#include "networks/text/text_encoder.h"
#include "networks/transformer.h"
#include "package/model.h"
#include "stream/lane.h"
#include "stream/ranks.h"

namespace flowcache {

struct LoadOptions {
  std::string model;              // see read_model()
  std::string device;             // see choose_device()
  std::string precision;          // see choose_precision()
  uint32_t threads = 0;           // see checked_threads()
  uint64_t memory_limit = 0;      // bytes; 0: what is free
  int64_t slice_tokens = 0;       // see Transformer::slice_tokens()
  int64_t width = 0, height = 0;  // picture size for the check of memory; 0: native
  std::string kv_precision = {};  // see choose_kv_precision()
  std::shared_ptr<Ranks> ranks =
      nullptr;                      // the other processes that run the network; null: this one runs it alone
  bool network_only = false;        // true: no text encoder and no decoder
  double kv_share = 1;              // the part of keys and values that this process keeps
  std::string decoder_device = {};  // see choose_device(); "": the network's
  // While the other ranks of this machine wait: for decoding. 0: `threads`.
  uint32_t threads_alone = 0;
};

// What a stream of the model's own settings needs on `device`, for memory_needs().
MemoryPlan plan_of(const ModelPackage& package, Precision precision, KvPrecision kv, at::Device device);

// Gets the stage and the fraction of all work that is done; returning false cancels.
using Progress = std::function<bool(const char* stage, double fraction)>;

struct LoadedModel {
  ModelPackage package;
  at::Device device = at::kCPU, decoder_device = at::kCPU;
  at::ScalarType compute = at::kFloat, weights = at::kFloat;  // the two halves of a Precision
  KvPrecision kv_precision = KvPrecision::full;
  unsigned threads = 1;  // arithmetic threads of its streams; fixed, because results depend on the number
  unsigned threads_alone = 1;  // as in LoadOptions
  uint64_t memory_limit = 0;
  bool network_only = false;  // as in LoadOptions
  double kv_share = 1;
  std::shared_ptr<Ranks> ranks;  // null: the network runs in this process alone
  std::unique_ptr<Transformer> transformer;
  std::function<WeightMap()> weights_anew;  // what `transformer` was made of, from its files; null: not known
  std::unique_ptr<Decoder> decoder;
  mutable std::mutex encoder_mutex;
  mutable std::shared_ptr<const FrameEncoder>
      encoder;                                // guarded by encoder_mutex; null until somebody wants it
  std::unique_ptr<TextEncoder> text;          // its features may be used on the calling thread's lane
  std::shared_ptr<const LentLane> text_lane;  // where it encodes; null: nowhere in particular

  // Throws the errors of fc_engine_open(), and FC_CANCELLED if `progress` returned false.
  static std::shared_ptr<const LoadedModel> load(const LoadOptions& options, const Progress& progress);

  // The memory that this model needs on its device, with one stream of default settings and this picture size
  // (0: native). Uses only the members package, device, compute, weights and
  // kv_precision, network_only and kv_share.
  std::vector<MemoryNeed> memory_needs(int64_t width, int64_t height) const;

  // What live pictures are encoded with, loaded by the first call and kept. Throws FC_ERROR_NOT_FOUND or FC_ERROR_MODEL if the
  // model has none. Any thread, on a lane of its own.
  std::shared_ptr<const FrameEncoder> frame_encoder() const;

  // The decoder is on another device than the network.
  bool decodes_away() const { return decoder_device != device; }
  int64_t tokens_per_frame(const PictureSize& size) const;
  int64_t tokens_per_chunk(const PictureSize& size) const;
  Lane lane_of_text() const { return text_lane ? **text_lane : Lane(); }
  // Bytes that may still be allocated on the device, within the memory limit.
  uint64_t memory_available() const;
  // The same beside what memory_needs() counts, where there is a memory limit.
  uint64_t memory_to_spare() const;

 private:
  MemoryPlan plan_at(const ModelPackage& sized) const;
  void check_decoder_memory(int64_t width, int64_t height) const;
  std::unique_ptr<Decoder> new_decoder(const std::string& precision) const;
};

// The model's own network. It keeps the model.
inline std::shared_ptr<const Transformer> network_of(const std::shared_ptr<const LoadedModel>& model) {
  return {model, model->transformer.get()};
}

}  // namespace flowcache
