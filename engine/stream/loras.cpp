// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/loras.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "base/words.h"
#include "networks/lora.h"
#include "networks/lora_list.h"
#include "package/weights_file.h"
#include "stream/device.h"
#include "stream/work.h"

namespace flowcache {
namespace {

WeightMap read_lora(const std::string& file) {
  WeightMap lora = read_weights(file);
  join_scales(lora, file);
  return lora;
}

// The weights that are not the same in both.
std::set<std::string> differing(const WeightMap& one, const WeightMap& other) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : one)
    if (!tensor.is_same(other.at(name))) names.insert(name);
  return names;
}

// It gives its memory back, so that there is room for the next one. On a GPU steps may still read it.
std::shared_ptr<const Transformer> owned(std::unique_ptr<Transformer> network,
                                         const std::shared_ptr<const LoadedModel>& model) {
  return {network.release(), [model](const Transformer* last) {
            finish_all(model->device);
            delete last;
            give_back_memory(model->device);
          }};
}

}  // namespace

LoraNeeds lora_needs(const WeightMap& weights, const std::set<std::string>& touched, Precision precision) {
  LoraNeeds needs;
  for (const std::string& name : touched) {
    const at::Tensor& weight = weights.at(name);
    const auto values = static_cast<uint64_t>(weight.numel());
    // Only the blocks' matrices are kept in fewer bits than fp32, and a scale for each row then stands beside them.
    const bool block = weight.dim() == 2 && name.find("blocks") != std::string::npos;
    const uint64_t rows = block ? static_cast<uint64_t>(weight.size(0)) : 0;
    needs.weights +=
        values * (block ? c10::elementSize(precision.weights) : sizeof(float)) + rows * sizeof(float);
    needs.merging = std::max(needs.merging, 4 * values * sizeof(float));
  }
  return needs;
}

Loras::Loras(std::shared_ptr<const LoadedModel> model) : model_(std::move(model)) {
  current_.network = network_of(model_);
}

std::shared_ptr<const Transformer> Loras::network_with(const std::string& list) {
  const std::vector<LoraFile> files = parse_loras(list);
  if (files.empty()) return network_of(model_);
  if (!model_->weights_anew)
    throw Error(FC_ERROR_ARGUMENT, "LoRAs need a model whose weights are in files: this one has none");
  const WeightMap own = model_->weights_anew();
  WeightMap merged = own;
  for (const LoraFile& one : files) {
    stop_if_asked();
    merged = merge_lora(merged, read_lora(one.file), one.scale, "the LoRA " + one.file);
  }
  std::set<std::string> touched = differing(merged, own);
  model_->transformer->add_joined(touched);
  const LoraNeeds needs = lora_needs(merged, touched, {model_->compute, model_->weights});
  if (const uint64_t room = model_->memory_to_spare(); needs.weights + needs.merging > room)
    throw Error(FC_ERROR_MEMORY,
                "the LoRA " + list + " changes " + std::to_string(touched.size()) + " weights, which take " +
                    megabytes(needs.weights) + " beside the model's own and " + megabytes(needs.merging) +
                    " while they are merged, but " + model_->device.str() + " has " + megabytes(room) +
                    ": name it in model.json (transformer.loras), which takes no more than the model, or "
                    "choose precision bf16, fp8 or int8, or free memory");
  return owned(model_->transformer->with_weights(merged, touched), model_);
}

uint64_t Loras::change(const std::string& list, uint64_t at_chunk) {
  const std::lock_guard one(one_by_one_);
  const Stopwatch watch;
  making_.asked = false;
  working_ = true;
  struct AtTheEnd {
    std::atomic<bool>& working;
    ~AtTheEnd() { working = false; }
  } const at_the_end{working_};
  Change change;
  {
    const Lane lane = model_->lane_of_text();
    const Work work(*model_, lane);
    const Interruptible interruptible(&making_);
    change.made.network = network_with(list);
    lane.wait();  // from here on any lane may read it
  }
  const std::lock_guard lock(mutex_);
  change.made.seconds = watch.seconds();
  change.made.ticket = ++last_ticket_;
  const bool next = at_chunk == FC_NEXT_CHUNK || at_chunk > INT64_MAX;
  change.at_chunk = next ? next_chunk_ : std::max(next_chunk_, static_cast<int64_t>(at_chunk));
  std::erase_if(queued_, [&](const Change& other) { return other.at_chunk == change.at_chunk; });
  const auto later = std::find_if(queued_.begin(), queued_.end(),
                                  [&](const Change& other) { return other.at_chunk > change.at_chunk; });
  const uint64_t ticket = change.made.ticket;
  queued_.insert(later, std::move(change));
  return ticket;
}

ChunkNetwork Loras::take(int64_t chunk) {
  ChunkNetwork before;  // goes without the lock, as it may wait for the device
  const std::lock_guard lock(mutex_);
  while (!queued_.empty() && queued_.front().at_chunk <= chunk) {
    before = std::exchange(current_, queued_.front().made);
    queued_.erase(queued_.begin());
  }
  next_chunk_ = chunk + 1;
  return current_;
}

void Loras::restart() {
  std::vector<Change> dropped;  // as above
  ChunkNetwork before;
  const std::lock_guard lock(mutex_);
  dropped.swap(queued_);
  if (!dropped.empty() && dropped.front().at_chunk <= next_chunk_)
    before = std::exchange(current_, dropped.front().made);
  next_chunk_ = 0;
}

}  // namespace flowcache
