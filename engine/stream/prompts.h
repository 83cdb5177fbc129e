// SPDX-License-Identifier: LGPL-2.1-or-later
// Which prompt holds for which chunks. Each prompt has a ticket, which its chunks carry as a proof.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "networks/text/text_encoder.h"
#include "stream/lane.h"

namespace flowcache {

constexpr size_t max_prompt_bytes = 8192;

// Throws FC_ERROR_ARGUMENT unless `text` is valid UTF-8 of at most max_prompt_bytes without NUL.
void check_prompt(const std::string& text);

// The prompt of one chunk as text features; during a blend they are interpolated.
struct ChunkPrompt {
  at::Tensor features;  // [n, text_dim]
  uint64_t ticket = 0;
  bool changed = false;  // differs from the chunk before, so conditions must be made again
  bool cut = false;      // a new prompt begins here, without a blend
  bool recache = false;  // a new prompt begins here, and the history is to run once more under it
};

// Thread-safe. Prompts may come from any thread, while one thread asks for chunks in ascending order. Features are encoded
// on the lane of the thread that gives the prompt, and may be used on the lane of the thread that asks for them.
class Prompts {
 public:
  // `encoder` outlives this.
  Prompts(const TextEncoder& encoder, const std::string& first);

  // Queues `text` for the chunks from `at_chunk` on, but not before the next one that take() is asked for. It
  // is blended in over `blend_chunks` chunks, which may be FC_PROMPT_RECACHE. Replaces a queued prompt for the same chunk. Returns the
  // ticket, > 0. Throws FC_ERROR_ARGUMENT as check_prompt() does.
  uint64_t change(const std::string& text, uint64_t at_chunk, uint32_t blend_chunks);
  // The prompt of `chunk`. Called once for each chunk, in ascending order.
  ChunkPrompt take(int64_t chunk);
  // The features of the newest prompt in force, without a blend: [n, text_dim].
  at::Tensor features() const;
  // Drops queued prompts. The prompt in force holds from chunk 0 on.
  void restart();
  // The words of the newest prompt that the encoder does not know.
  std::vector<std::string> unknown_words() const;

 private:
  struct Change {
    uint64_t ticket = 0;
    int64_t at_chunk = 0;
    int64_t blend_chunks = 0;
    bool recache = false;
    Handed features;
  };

  const TextEncoder& encoder_;
  mutable std::mutex mutex_;    // guards everything below; never held while encoding
  Change current_;              // the prompt in force
  at::Tensor blend_from_;       // features at the start of the current blend; undefined without a blend
  at::Tensor shown_;            // features of the last chunk asked for; undefined before the first
  std::vector<Change> queued_;  // in ascending order of their chunks
  int64_t next_chunk_ = 0;
  uint64_t last_ticket_ = 0;
  std::vector<std::string> unknown_;
};

}  // namespace flowcache
