// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/block_graphs.h"

#include <dlfcn.h>

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "base/interruption.h"
#include "base/log.h"
#include "base/modules.h"
#include "stream/device.h"

namespace flowcache {
namespace {

// A step and the clean pass of each guidance branch, and the same for a second set of chunks in flight.
constexpr size_t most_graphs = 8;
constexpr size_t most_seen = 64;

struct OpenedGraphs {
  const fc_cuda_graph_functions* functions = nullptr;
  std::string problem;
};

const OpenedGraphs& opened_graphs() {
  static const OpenedGraphs opened = [] {
    OpenedGraphs result;
    for (const std::string& place : module_places(FC_CUDA_GRAPHS_MODULE, "graphs")) {
      void* const module = dlopen(place.c_str(), RTLD_NOW);
      if (!module) {
        result.problem += (result.problem.empty() ? "" : "; ") + std::string(dlerror());
        continue;
      }
      const auto functions = reinterpret_cast<fc_cuda_graphs_function>(dlsym(module, "fc_cuda_graphs"));
      if (functions) return OpenedGraphs{functions(), ""};
      result.problem += (result.problem.empty() ? "" : "; ") + place + ": has no fc_cuda_graphs";
    }
    return result;
  }();
  return opened;
}

void say_once(const std::string& what) {
  static std::once_flag once;
  std::call_once(once, [&] { log(FC_LOG_WARNING, what); });
}

}  // namespace

struct BlockGraphs::Graph {
  Graph(const fc_cuda_graph_functions& all, std::shared_ptr<const Transformer> weights,
        std::shared_ptr<const Condition> own)
      : functions(all), network(std::move(weights)), condition(std::move(own)) {}
  ~Graph() {
    if (noted) functions.free(noted);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  const fc_cuda_graph_functions& functions;
  std::shared_ptr<const Transformer> network;  // the graph reads its memory, and that of the condition
  std::shared_ptr<const Condition> condition;
  Embedded embedded;  // the inputs' places
  at::Tensor tokens, result;
  void* noted = nullptr;
  int64_t last_run = 0;
};

std::unique_ptr<BlockGraphs> BlockGraphs::make(const LoadedModel& model) {
  if (!model.device.is_cuda()) return nullptr;
  const OpenedGraphs& opened = opened_graphs();
  if (!opened.functions) {
    say_once("graphs are wanted, but " FC_CUDA_GRAPHS_MODULE
             " cannot be opened, so every kernel is launched on its own: " +
             opened.problem);
    return nullptr;
  }
  return std::unique_ptr<BlockGraphs>(new BlockGraphs(model, *opened.functions));
}

BlockGraphs::BlockGraphs(const LoadedModel& model, const fc_cuda_graph_functions& functions)
    : model_(model), functions_(functions) {}

BlockGraphs::~BlockGraphs() {
  graphs_.clear();
  if (!anchor_) return;
  functions_.free(anchor_);
  give_back_memory(model_.device);  // LibTorch would keep the pool
}

void BlockGraphs::forget() {
  if (!graphs_.empty()) Mark::here(model_.device).wait();  // the GPU may still run one
  graphs_.clear();
  seen_.clear();
}

at::Tensor BlockGraphs::blocks(int64_t chunk, const std::shared_ptr<const Transformer>& network,
                               const Embedded& embedded, const at::Tensor& tokens,
                               const std::shared_ptr<const Condition>& condition, KvView& kv, int first,
                               int last) {
  const KvPlace place = kv.place();
  const auto as_it_is = [&] { return network->blocks(embedded, tokens, *condition, kv, first, last); };
  if (failed_ || embedded.attention || !place.buffer || !embedded.rope.defined()) return as_it_is();
  const Key key{
      first,
      last,
      embedded.keys_only,
      network.get(),
      condition.get(),
      place,
      {embedded.grid.frames, embedded.grid.height, embedded.grid.width, embedded.modulation.size(0)}};
  if (const auto found = graphs_.find(key); found != graphs_.end())
    return run(*found->second, embedded, tokens);
  if (seen_.size() >= most_seen) seen_.clear();
  // While history grows each chunk has a place of its own, which is not seen again.
  if (seen_.try_emplace(key, chunk).first->second == chunk) return as_it_is();
  make_room();
  std::unique_ptr<Graph> made = note(network, embedded, tokens, condition, kv, first, last);
  if (!made) return as_it_is();
  Graph& graph = *(graphs_[key] = std::move(made));
  return run(graph, embedded, tokens);
}

at::Tensor BlockGraphs::run(Graph& graph, const Embedded& embedded, const at::Tensor& tokens) {
  graph.tokens.copy_(tokens);
  graph.embedded.time.copy_(embedded.time);
  graph.embedded.modulation.copy_(embedded.modulation);
  graph.embedded.rope.copy_(embedded.rope);
  graph.last_run = ++runs_;
  char error[512] = "";
  if (functions_.run(graph.noted, error, sizeof error) != 0)
    throw Error(FC_ERROR_DEVICE,
                std::string("a CUDA graph does not run: ") + error + "; open the stream with graphs=0");
  if (embedded.keys_only || !graph.result.defined()) return graph.result;
  return graph.result.clone();  // the next run writes over it
}

// LibTorch closes a pool with its last graph and keeps its memory for nobody. A graph of one kernel, which never runs, keeps
// it open.
bool BlockGraphs::open_pool(char* error, size_t room) {
  if (anchor_) return true;
  if (functions_.begin(pool_, &anchor_, error, room) != 0) return false;
  const at::Tensor one = at::zeros({1}, at::TensorOptions().device(model_.device));
  return functions_.end(anchor_, error, room) == 0;
}

std::unique_ptr<BlockGraphs::Graph> BlockGraphs::note(const std::shared_ptr<const Transformer>& network,
                                                      const Embedded& embedded, const at::Tensor& tokens,
                                                      const std::shared_ptr<const Condition>& condition,
                                                      KvView& kv, int first, int last) {
  const Interruptible never(nullptr);  // half a graph would count as one that cannot be noted
  auto graph = std::make_unique<Graph>(functions_, network, condition);
  graph->embedded = embedded;
  graph->embedded.time = embedded.time.clone();
  graph->embedded.modulation = embedded.modulation.clone();
  graph->embedded.rope = embedded.rope.clone();
  graph->tokens = tokens.clone();
  graph->embedded.tokens = graph->tokens;
  char error[512] = "";
  bool fine =
      open_pool(error, sizeof error) && functions_.begin(pool_, &graph->noted, error, sizeof error) == 0;
  if (fine) {
    std::string problem;
    try {
      graph->result = network->blocks(graph->embedded, graph->tokens, *condition, kv, first, last);
    } catch (const std::exception& failure) {
      problem = failure.what();
    }
    fine = functions_.end(graph->noted, error, sizeof error) == 0 && problem.empty();
    if (!problem.empty()) std::snprintf(error, sizeof error, "%s", problem.c_str());
  }
  if (fine) return graph;
  failed_ = true;
  say_once(
      std::string("work for the GPU cannot be noted as a graph, so every kernel is launched on its own: ") +
      error);
  return nullptr;
}

// Graphs of prompts that nobody uses any more go, then the one that has not run for longest.
void BlockGraphs::make_room() {
  Mark::here(model_.device).wait();  // the GPU may still run one that goes
  std::map<const Condition*, long> held;
  for (const auto& [key, graph] : graphs_) ++held[key.condition];
  std::erase_if(graphs_, [&](const auto& entry) {
    const auto own = held.find(entry.first.condition);
    if (entry.second->condition.use_count() > own->second) return false;
    --own->second;
    return true;
  });
  while (graphs_.size() >= most_graphs) {
    const auto oldest = std::min_element(
        graphs_.begin(), graphs_.end(),
        [](const auto& one, const auto& other) { return one.second->last_run < other.second->last_run; });
    seen_.erase(oldest->first);
    graphs_.erase(oldest);
  }
}

}  // namespace flowcache
