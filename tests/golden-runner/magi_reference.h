// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1 as its published pipeline calls it: several chunks in one forward pass, and a memory that is
// addressed by chunk number. The engine itself runs one chunk at a time through a KvView; the functions here
// compare both for golden cases.
#pragma once

#include <map>
#include <vector>

#include "case.h"
#include "families/magi/magi.h"

namespace golden {

// Keys and values by slot: chunk c owns [c * tokens, (c + 1) * tokens). Grows as needed.
class MagiMemory {
 public:
  MagiMemory(int layers, int64_t tokens_per_chunk)
      : tokens_(tokens_per_chunk), layers_(static_cast<size_t>(layers)) {}
  void write(int layer, int64_t chunk, const flowcache::KeyValue& own);
  // The slots of chunks [first, last).
  flowcache::KeyValue read(int layer, int64_t first, int64_t last) const;
  MagiMemory clone() const;
  // As the cases store it: [slots, kv_heads, keys | values].
  at::Tensor table(int layer) const;

 private:
  int64_t tokens_;
  std::vector<flowcache::KeyValue> layers_;  // [kv_heads, slots, d]
};

// One chunk writes its slot and then attends chunks [first, last); last is its own number + 1.
class MagiView final : public flowcache::KvView {
 public:
  MagiView(MagiMemory& memory, int64_t chunk, int64_t first, int64_t last)
      : memory_(memory), chunk_(chunk), first_(first), last_(last) {}
  flowcache::KeyValue append(int layer, const at::Tensor&, const flowcache::KeyValue& own) override {
    memory_.write(layer, chunk_, own);
    return memory_.read(layer, first_, last_);
  }

 private:
  MagiMemory& memory_;
  int64_t chunk_, first_, last_;
};

struct WindowChunk {
  at::Tensor x;  // [C, F, h, w]
  double t = 0;
  int64_t chunk = 0;            // its number in the video
  int64_t first = 0, last = 0;  // the chunks that it attends
  const flowcache::Condition* condition = nullptr;
};

struct WindowOutput {
  std::vector<at::Tensor> velocity;             // one for each chunk
  std::vector<std::vector<at::Tensor>> hidden;  // [layer][chunk]
};

constexpr int64_t chunk_frames = 6;  // of every published MAGI-1 model

// The window's forward pass. Keys of chunks before the first one given come from `memory`.
WindowOutput forward_window(const flowcache::MagiTransformer& model, MagiMemory& memory,
                            const std::vector<WindowChunk>& chunks, double step_size);

// A chunk that attends only itself and is not stored. Then only relative positions matter.
at::Tensor forward_alone(const flowcache::MagiTransformer& model, const at::Tensor& x, double t,
                         int64_t chunk, const flowcache::Condition& condition, double step_size);

// The factor of the pass with history when it is mixed with the pass without, for a nearly clean chunk.
constexpr double history_share = 0.7;
inline at::Tensor blend_nearly_clean(const at::Tensor& with_history, const at::Tensor& alone) {
  return history_share * with_history + (1 - history_share) * alone;
}

// The captions of a case: one condition for each chunk, made from the tokens whose mask is 1.
std::vector<std::shared_ptr<const flowcache::Condition>> read_captions(
    Case& one, const nlohmann::json& in, const flowcache::MagiTransformer& model);

// Puts the number of a layer in place of "*", because a case names the tensors of all layers by one pattern.
std::string numbered(std::string pattern, int layer);

std::unique_ptr<flowcache::MagiTransformer> load_magi(Case& one);

}  // namespace golden
