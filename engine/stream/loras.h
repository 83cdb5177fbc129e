// SPDX-License-Identifier: LGPL-2.1-or-later
// LoRAs that a stream takes on and puts off while it plays. Each list has a ticket, which its chunks carry as a proof.
//
// A changed network is made of the files, never of the weights in memory: those are rounded, and a LoRA that was added and
// taken away again would leave its rounding behind. All that the list does not touch is shared with the model's own
// network, which stays as it is, so streams of one model do not change each other.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/interruption.h"
#include "stream/loaded_model.h"

namespace flowcache {

struct ChunkNetwork {
  std::shared_ptr<const Transformer> network;
  uint64_t ticket = 0;  // 0: no list was given yet
  double seconds = 0;   // that it took to read and merge the list
};

// Thread-safe. Lists may come from any thread, while one thread asks for chunks in ascending order.
class Loras {
 public:
  explicit Loras(std::shared_ptr<const LoadedModel> model);

  // Reads and merges a list (lora_list.h) on the calling thread, and queues it for the chunks from `at_chunk` on, but not
  // before the next one that take() is asked for. It replaces the list before, and a queued one for the same chunk; "" is
  // the model's own network. Returns the ticket, > 0. If it throws, nothing has changed: FC_ERROR_ARGUMENT,
  // FC_ERROR_NOT_FOUND, FC_ERROR_MODEL as merge_lora() does, FC_ERROR_MEMORY with figures before anything is made,
  // FC_CANCELLED after cancel().
  uint64_t change(const std::string& list, uint64_t at_chunk);
  // Stops a change() that is under way.
  void cancel() { making_.asked = working_.load(); }
  // The network of `chunk`. May be asked again for the same chunk.
  ChunkNetwork take(int64_t chunk);
  // What is in force holds from chunk 0 on, and so does what waits for the next chunk. Drops what waits for later ones.
  void restart();

 private:
  struct Change {
    ChunkNetwork made;
    int64_t at_chunk = 0;
  };
  std::shared_ptr<const Transformer> network_with(const std::string& list);

  const std::shared_ptr<const LoadedModel> model_;
  std::mutex one_by_one_;  // held while a network is made, so that two are not planned for the same memory
  Interruption making_;
  std::atomic<bool> working_{false};
  std::mutex mutex_;  // guards what follows
  ChunkNetwork current_;
  std::vector<Change> queued_;  // in ascending order of their chunks
  int64_t next_chunk_ = 0;
  uint64_t last_ticket_ = 0;
};

// Bytes that a network of these weights takes for the touched ones, and for a moment while they are merged.
struct LoraNeeds {
  uint64_t weights = 0, merging = 0;
};
LoraNeeds lora_needs(const WeightMap& weights, const std::set<std::string>& touched, Precision precision);

}  // namespace flowcache
