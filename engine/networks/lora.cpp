// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/lora.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "error.h"

namespace flowcache {
namespace {

// What a file says about one layer.
struct Change {
  at::Tensor down, up, alpha, weight_difference, bias_difference;
};

struct Suffix {
  const char* text;
  at::Tensor Change::*part;
};
constexpr Suffix suffixes[] = {
    {".lora_A.weight", &Change::down},
    {".lora_B.weight", &Change::up},
    {".lora_A.default.weight", &Change::down},
    {".lora_B.default.weight", &Change::up},
    {".lora_down.weight", &Change::down},
    {".lora_up.weight", &Change::up},
    {".alpha", &Change::alpha},
    {".diff", &Change::weight_difference},
    {".diff_b", &Change::bias_difference},
};
constexpr const char* prefixes[] = {"base_model.model.", "diffusion_model.", "transformer.", "model.",
                                    "lora_unet_"};

// Collects what does not fit, for one message.
class Complaints {
 public:
  void add(const std::string& one) {
    if (count_++ < shown) text_ += (text_.empty() ? "" : "; ") + one;
  }
  void raise(const std::string& what) const {
    if (count_ == 0) return;
    const std::string more = count_ > shown ? "; and " + std::to_string(count_ - shown) + " more" : "";
    throw Error(FC_ERROR_MODEL, what + " does not fit this model: " + text_ + more);
  }

 private:
  static constexpr size_t shown = 8;
  size_t count_ = 0;
  std::string text_;
};

std::string without_prefix(std::string name) {
  for (const char* prefix : prefixes)
    if (name.starts_with(prefix)) name.erase(0, std::char_traits<char>::length(prefix));
  return name;
}

std::map<std::string, Change> collect(const WeightMap& lora, Complaints& complaints) {
  std::map<std::string, Change> changes;
  for (const auto& [key, tensor] : lora) {
    const auto found = std::find_if(std::begin(suffixes), std::end(suffixes),
                                    [&key](const Suffix& suffix) { return key.ends_with(suffix.text); });
    if (found == std::end(suffixes)) {
      complaints.add("\"" + key + "\" is no part of a LoRA");
      continue;
    }
    const std::string layer = key.substr(0, key.size() - std::char_traits<char>::length(found->text));
    changes[without_prefix(layer)].*(found->part) = tensor;
  }
  return changes;
}

// kohya writes names with "_" for "."; the model's own names say which is which.
std::map<std::string, std::string> layers_by_underscored_name(const WeightMap& weights) {
  std::map<std::string, std::string> layers;
  for (const auto& [key, tensor] : weights) {
    if (!key.ends_with(".weight")) continue;
    const std::string layer = key.substr(0, key.size() - 7);
    std::string flat = layer;
    std::replace(flat.begin(), flat.end(), '.', '_');
    layers[flat] = layer;
  }
  return layers;
}

std::string shape_text(const at::Tensor& tensor) {
  std::string text = "[";
  for (const int64_t n : tensor.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

at::Tensor added(const at::Tensor& weight, const at::Tensor& difference) {
  return (weight.to(at::kFloat) + difference.view(weight.sizes())).to(weight.scalar_type());
}

// B A, or nothing (and a complaint) if the halves do not fit the weight.
std::optional<at::Tensor> product(const Change& change, const at::Tensor& weight, const std::string& layer,
                                  Complaints& complaints) {
  if (!change.down.defined() || !change.up.defined()) {
    complaints.add(layer + " has one half of a LoRA only");
    return std::nullopt;
  }
  if (change.down.dim() < 2 || change.up.dim() < 2) {
    complaints.add(layer + " has a half that is no matrix");
    return std::nullopt;
  }
  const at::Tensor down = change.down.to(at::kFloat).flatten(1), up = change.up.to(at::kFloat).flatten(1);
  const at::Tensor flat = weight.flatten(1);
  if (up.size(1) != down.size(0) || up.size(0) != flat.size(0) || down.size(1) != flat.size(1)) {
    complaints.add(layer + ": " + shape_text(change.up) + " times " + shape_text(change.down) +
                   " is not the weight's " + shape_text(weight));
    return std::nullopt;
  }
  const double alpha = change.alpha.defined() ? change.alpha.to(at::kDouble).reshape({-1})[0].item<double>()
                                              : static_cast<double>(down.size(0));
  return at::matmul(up, down) * (alpha / static_cast<double>(down.size(0)));
}

}  // namespace

WeightMap merge_lora(const WeightMap& weights, const WeightMap& lora, double scale, const std::string& what) {
  if (!std::isfinite(scale))
    throw Error(FC_ERROR_ARGUMENT, what + ": scale " + std::to_string(scale) + " is not a finite number");
  Complaints complaints;
  const auto changes = collect(lora, complaints);
  const auto underscored = layers_by_underscored_name(weights);
  WeightMap merged = weights;
  for (const auto& [name, change] : changes) {
    const auto flat = underscored.find(name);
    const std::string layer = flat != underscored.end() ? flat->second : name;
    const auto add = [&](const char* part, const at::Tensor& difference) {
      const auto found = merged.find(layer + part);
      if (found == merged.end()) return complaints.add("this model has no " + layer + part);
      if (difference.numel() != found->second.numel())
        return complaints.add(layer + part + ": a difference of " + shape_text(difference) + " for " +
                              shape_text(found->second));
      found->second = added(found->second, difference.to(at::kFloat) * scale);
    };
    if (change.weight_difference.defined()) add(".weight", change.weight_difference);
    if (change.bias_difference.defined()) add(".bias", change.bias_difference);
    if (!change.down.defined() && !change.up.defined()) {
      if (!change.weight_difference.defined() && !change.bias_difference.defined())
        complaints.add(layer + " has an alpha and nothing else");
      continue;
    }
    const auto found = merged.find(layer + ".weight");
    if (found == merged.end()) {
      complaints.add("this model has no " + layer + ".weight");
      continue;
    }
    if (const auto difference = product(change, found->second, layer, complaints))
      add(".weight", *difference);
  }
  if (changes.empty()) complaints.add("there is nothing in it");
  complaints.raise(what);
  return merged;
}

}  // namespace flowcache
