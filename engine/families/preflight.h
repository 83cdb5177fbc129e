// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether a model fits, before anything large is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "package/model.h"

namespace flowcache {

struct MemoryPlan {
  uint64_t weight_bytes = 4;  // of one weight of the transformer as it is kept: fp32 4, bf16 2, fp8 1
  uint64_t kv_bytes = 4;      // of one key or value
  uint64_t kv_budget = 0;     // bytes for finished chunks, all branches; 0: the model's history_chunks
  uint64_t chunks_in_flight = 1;
  uint64_t branches = 1;  // 2 with classifier-free guidance
  bool device_is_host = true;
  // Bytes of the sections' weights as 16-bit floats; negative: from the sizes of their files.
  int64_t transformer_bytes = -1, text_bytes = -1, decoder_bytes = -1;
};

// A plan with what the model itself says of window and guidance.
MemoryPlan default_plan(const ModelPackage& package, uint64_t weight_bytes, uint64_t kv_bytes,
                        bool device_is_host);

struct MemoryNeed {
  std::string what;
  uint64_t bytes = 0;
  bool on_host = false;  // although the model is on another device
};

// Keys and values of one chunk of `package`, all layers, one branch; element: bytes of one. Reads the
// transformer's config; FC_ERROR_MODEL if a field is missing or impossible.
uint64_t kv_bytes_per_chunk(const ModelPackage& package, uint64_t element);

// What loading the model and running one stream takes: transformer, text encoder, decoder, KV budget, KV of
// the chunks in flight, working memory. A text encoder that stays on the CPU beside a model on a GPU is a
// need of the host's; one that is unloaded after each prompt is nobody's: it comes and goes before the
// stream's own memory is touched, and if it does not fit then, the error says so. Opens no weights; sizes of
// files that are missing are FC_ERROR_NOT_FOUND.
std::vector<MemoryNeed> memory_needs(const ModelPackage& package, const MemoryPlan& plan);

// The needs of the host (true) or of the device alone.
std::vector<MemoryNeed> needs_of(const std::vector<MemoryNeed>& needs, bool host);

// Throws FC_ERROR_MEMORY with every figure in MB if the needs exceed `available`; `where`: "cpu", "cuda:0",
// or what set the limit.
void check_memory(const std::vector<MemoryNeed>& needs, uint64_t available, const std::string& where);

}  // namespace flowcache
