// SPDX-License-Identifier: LGPL-2.1-or-later
// Which prompt holds from which chunk on, and the ticket that proves it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "networks/text/text_encoder.h"

namespace flowcache {

constexpr size_t max_prompt_bytes = 8192;

// Throws FC_ERROR_ARGUMENT unless `text` is valid UTF-8 of at most max_prompt_bytes without NUL.
void check_prompt(const std::string& text);

// The condition of one chunk: text features, already interpolated during a blend.
struct ChunkPrompt {
  at::Tensor features;  // [n, text_dim]
  uint64_t ticket = 0;
  bool changed = false;  // differs from the chunk before: conditions must be rebuilt
  bool cut = false;      // a new prompt begins here, without a blend
};

// Thread-safe: prompts come from any thread while one thread asks for chunks in ascending order.
class Prompts {
 public:
  // `encoder` outlives this object.
  Prompts(const TextEncoder& encoder, const std::string& first);

  // Queues `text` from chunk `at_chunk` on (at least the next one asked for), blended in over `blend_chunks`.
  // Returns its ticket, > 0. Replaces a queued change for the same chunk.
  uint64_t change(const std::string& text, uint64_t at_chunk, uint32_t blend_chunks);
  // The prompt of `chunk`. Called once a chunk, ascending.
  ChunkPrompt take(int64_t chunk);
  // Of the prompt in force, blended or not: [n, text_dim].
  at::Tensor features() const;
  // Forgets queued changes; the prompt in force stays, and holds from chunk 0 on.
  void restart();
  // Of the last prompt given.
  std::vector<std::string> unknown_words() const;

 private:
  struct Change {
    uint64_t ticket = 0;
    int64_t at_chunk = 0;
    int64_t blend_chunks = 0;
    at::Tensor features;
  };

  const TextEncoder& encoder_;
  mutable std::mutex mutex_;    // guards everything below; never held while encoding
  Change current_;              // in force
  at::Tensor blend_from_;       // features when the current blend began; undefined outside a blend
  std::vector<Change> queued_;  // by chunk
  int64_t next_chunk_ = 0;
  uint64_t last_ticket_ = 0;
  std::vector<std::string> unknown_;
};

}  // namespace flowcache
