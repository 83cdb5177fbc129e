// SPDX-License-Identifier: LGPL-2.1-or-later
// Checks that a model fits into memory, before anything large is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "package/model.h"

namespace flowcache {

struct MemoryPlan {
  uint64_t weight_bytes = 4;  // of one weight of the transformer in memory: fp32 4, bf16 2, fp8 and int8 1
  uint64_t kv_bytes = 4;      // of one number in keys or values
  bool kv_int8 = false;       // those of finished chunks are in 8 bits, with a scale for each head and token
  uint64_t kv_budget = 0;     // bytes for finished chunks in all branches; 0: the model's history_chunks
  uint64_t kv_scratch = 0;    // bytes of all branches that the KV buffers take beside the chunks
  uint64_t chunks_in_flight = 1;
  uint64_t branches = 1;  // 2 with classifier-free guidance
  bool device_is_host = true;
  // Of a process that runs the network together with others: its part of keys and values, 0..1; and whether it has nothing
  // but the network.
  double kv_share = 1;
  bool network_only = false;
  bool decoder_away = false;  // the decoder is on another device: decoder_needs()
  // Bytes of the sections' weights as 16-bit floats; negative: taken from the sizes of their files.
  int64_t transformer_bytes = -1, text_bytes = -1, decoder_bytes = -1;
};

// A plan with the chunks in flight and the guidance that the model itself names.
MemoryPlan default_plan(const ModelPackage& package, uint64_t weight_bytes, uint64_t kv_bytes,
                        bool device_is_host);

struct MemoryNeed {
  std::string what;
  uint64_t bytes = 0;
  bool on_host = false;  // needed in host memory, although the model is on another device
};

// What the keys and values of a model are, by its transformer's config. Throws FC_ERROR_MODEL if a field is missing or
// impossible.
struct KvShape {
  int64_t layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t tokens_per_frame = 0, tokens_per_chunk = 0;
  std::vector<double> time_frequencies;  // TransformerShape's
};
KvShape kv_shape(const ModelPackage& package);

// Bytes of the keys and values of one chunk of `package`, in all layers of one branch. element: bytes of one
// number; scale: bytes that each token of each head has besides, for its key and for its value.
uint64_t kv_bytes_per_chunk(const ModelPackage& package, uint64_t element, uint64_t scale = 0);

// What decoding takes beside the decoder's weights and the frames. element: bytes of one number.
uint64_t decoding_bytes(const ModelPackage& package, uint64_t element);

// The memory that loading the model and running one stream takes: transformer, text encoder, decoder, KV
// budget, KV of the chunks in flight, KV scratch, working memory. A text encoder on the CPU beside a model on a GPU is a
// need of the host. One that is unloaded after each prompt is not listed: it is used before the stream's own
// memory is, and if it does not fit then, loading it fails with a message. Opens no weights. Throws
// FC_ERROR_NOT_FOUND if a file whose size is needed is missing.
std::vector<MemoryNeed> memory_needs(const ModelPackage& package, const MemoryPlan& plan);

// What a decoder on a device of its own needs there.
std::vector<MemoryNeed> decoder_needs(const ModelPackage& package, const MemoryPlan& plan);

// The needs of the host (true) or those of the device (false).
std::vector<MemoryNeed> needs_of(const std::vector<MemoryNeed>& needs, bool host);

// Throws FC_ERROR_MEMORY, with every figure in MB, if the needs exceed `available`. `where` names the place
// in the message: "cpu", "cuda:0", or whatever set the limit.
void check_memory(const std::vector<MemoryNeed>& needs, uint64_t available, const std::string& where);

}  // namespace flowcache
