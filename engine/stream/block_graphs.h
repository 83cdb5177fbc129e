// SPDX-License-Identifier: LGPL-2.1-or-later
// A network's blocks as CUDA graphs. The steps of a stream in its steady state give the GPU the same thousands of kernels
// again and again, with the same shapes and addresses. They are noted once, and then given in one piece.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <string>

#include "graphs/cuda_graph.h"
#include "stream/loaded_model.h"

namespace flowcache {

// Of one stream; driving thread only, on the stream's lane.
class BlockGraphs {
 public:
  // Null on a device without graphs, and, with a line in the log, where the module with them is missing.
  static std::unique_ptr<BlockGraphs> make(const LoadedModel& model);
  ~BlockGraphs();
  BlockGraphs(const BlockGraphs&) = delete;
  BlockGraphs& operator=(const BlockGraphs&) = delete;

  // As network->blocks(), for a step of `chunk`. What is new runs as it is. What a chunk before has run just so, with
  // the same blocks, prompt and place in the KV buffer, is noted, and from then on only given again. Some things always
  // run as they are: recalled attention, and what does not say where it writes (KvView::place(), Embedded::rope).
  at::Tensor blocks(int64_t chunk, const std::shared_ptr<const Transformer>& network,
                    const Embedded& embedded, const at::Tensor& tokens,
                    const std::shared_ptr<const Condition>& condition, KvView& kv, int first, int last);
  // Forgets all graphs: addresses may have changed.
  void forget();
  size_t size() const { return graphs_.size(); }

 private:
  // All that decides which kernels run, and on which memory.
  struct Key {
    int first = 0, last = 0;
    bool keys_only = false;
    const Transformer* network = nullptr;
    const Condition* condition = nullptr;
    KvPlace place;
    std::array<int64_t, 4> shape{};  // frames, rows and columns of tokens, groups of timesteps
    auto operator<=>(const Key&) const = default;
  };
  struct Graph;

  BlockGraphs(const LoadedModel& model, const fc_cuda_graph_functions& functions);
  at::Tensor run(Graph& graph, const Embedded& embedded, const at::Tensor& tokens);
  std::unique_ptr<Graph> note(const std::shared_ptr<const Transformer>& network, const Embedded& embedded,
                              const at::Tensor& tokens, const std::shared_ptr<const Condition>& condition,
                              KvView& kv, int first, int last);
  void make_room();
  bool open_pool(char* error, size_t room);

  const LoadedModel& model_;
  const fc_cuda_graph_functions& functions_;
  std::map<Key, std::unique_ptr<Graph>> graphs_;
  std::map<Key, int64_t> seen_;  // the chunk that first ran it
  uint64_t pool_[2] = {0, 0};
  void* anchor_ = nullptr;
  int64_t runs_ = 0;
  bool failed_ = false;  // noting has failed once: everything runs as it is
};

}  // namespace flowcache
