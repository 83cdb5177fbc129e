// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/lora.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/error.h"
#include "networks/lora_names.h"
#include "package/deferred.h"

namespace flowcache {
namespace {

// What a file says about one layer of the model.
struct Change {
  at::Tensor down, up, alpha, weight_difference, bias_difference, modulation_difference;
};
using Part = at::Tensor Change::*;

struct Suffix {
  const char* text;
  Part part;
};
constexpr Suffix suffixes[] = {
    {".lora_A.weight", &Change::down},
    {".lora_B.weight", &Change::up},
    {".lora_down.weight", &Change::down},
    {".lora_up.weight", &Change::up},
    {".lora.down.weight", &Change::down},
    {".lora.up.weight", &Change::up},
    {".alpha", &Change::alpha},
    {".diff", &Change::weight_difference},
    {".diff_b", &Change::bias_difference},
    {".diff_m", &Change::modulation_difference},
};

// What is no LoRA although it is shared as one; "" if the key tells nothing.
std::string other_kind(const std::string& key) {
  constexpr std::pair<const char*, const char*> kinds[] = {
      {".dora_scale", "DoRA"}, {".lora_magnitude_vector", "DoRA"},
      {".hada_w", "LoHa"},     {".lokr_w", "LoKr"},
      {".oft_", "OFT"},        {".lora_mid", "LoCon with a middle (CP)"}};
  for (const auto& [word, kind] : kinds)
    if (key.find(word) != std::string::npos) return kind;
  return "";
}

// A key, divided into layer and part; no part if the key is not understood. PEFT may write the adapter's name
// before the last word: X.lora_A.NAME.weight.
std::pair<std::string, Part> taken_apart(const std::string& key) {
  for (const auto& [text, part] : suffixes)
    if (key.ends_with(text)) return {key.substr(0, key.size() - std::char_traits<char>::length(text)), part};
  if (key.ends_with(".weight")) {
    if (const size_t at = key.rfind(".lora_A."); at != std::string::npos)
      return {key.substr(0, at), &Change::down};
    if (const size_t at = key.rfind(".lora_B."); at != std::string::npos)
      return {key.substr(0, at), &Change::up};
  }
  return {key, nullptr};
}

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

std::string shape_text(const at::Tensor& tensor) {
  std::string text = "[";
  for (const int64_t n : tensor.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

// "", or why a tensor cannot be used.
std::string problem_of(const at::Tensor& tensor, Part part) {
  if (part == &Change::alpha) {
    if (tensor.numel() != 1) return "has " + std::to_string(tensor.numel()) + " values, wanted one number";
  } else if (!tensor.is_floating_point()) {
    return std::string("holds ") + c10::toString(tensor.scalar_type()) + ", wanted floating point";
  }
  return tensor.to(at::kFloat).isfinite().all().item<bool>() ? "" : "has values that are not finite";
}

// What the file says, by layer; layers are spelled as in the model.
std::map<std::string, Change> collect(const WeightMap& lora, const LayerNames& names,
                                      Complaints& complaints) {
  std::map<std::string, Change> changes;
  for (const auto& [key, tensor] : lora) {
    const auto [spelled, part] = taken_apart(key);
    if (!part) {
      const std::string other = other_kind(key);
      complaints.add("\"" + key + "\" " +
                     (other.empty() ? "is no part of a LoRA that is understood"
                                    : "belongs to a " + other + ", which is not merged: take a plain LoRA"));
      continue;
    }
    const std::string layer = names.find(spelled);
    if (layer.empty()) {
      complaints.add("this model has no " + spelled + " (" + key + ")");
      continue;
    }
    if (const std::string problem = problem_of(tensor, part); !problem.empty())
      complaints.add("\"" + key + "\" " + problem);
    at::Tensor& place = changes[layer].*part;
    if (place.defined()) complaints.add("\"" + key + "\" is there for a second time under another name");
    place = tensor;
  }
  return changes;
}

using MakeDifference = std::function<at::Tensor()>;  // in fp32, not yet scaled

// The weight with scale times a difference, computed in fp32 when the weight is taken.
at::Tensor added(const at::Tensor& weight, const MakeDifference& make, double scale) {
  const at::ScalarType own = weight.scalar_type();
  const at::ScalarType type = c10::elementSize(own) < 2 ? at::kFloat : own;  // fp8 would lose the difference
  return deferred(weight.sizes(), type, [weight, make, scale, type](at::ScalarType) {
    return (dense(weight).to(at::kFloat) + (make() * scale).view(weight.sizes())).to(type);
  });
}

// Makes the product B A; nothing, and a complaint is noted, if the halves do not fit the weight.
std::optional<MakeDifference> product(const Change& change, const at::Tensor& weight,
                                      const std::string& layer, Complaints& complaints) {
  if (!change.down.defined() || !change.up.defined()) {
    complaints.add(layer + " has one half of a LoRA only");
    return std::nullopt;
  }
  if (change.down.dim() < 2 || change.up.dim() < 2) {
    complaints.add(layer + " has a half that is no matrix");
    return std::nullopt;
  }
  const at::Tensor down = change.down.flatten(1), up = change.up.flatten(1);
  if (weight.dim() < 2 || up.size(1) != down.size(0) || up.size(0) != weight.size(0) ||
      down.size(1) * weight.size(0) != weight.numel()) {
    complaints.add(layer + ": " + shape_text(change.up) + " times " + shape_text(change.down) +
                   " is not the weight's " + shape_text(weight));
    return std::nullopt;
  }
  const double alpha = change.alpha.defined() ? change.alpha.to(at::kDouble).item<double>()
                                              : static_cast<double>(down.size(0));
  return [down, up, factor = alpha / static_cast<double>(down.size(0))] {
    return at::matmul(up.to(at::kFloat), down.to(at::kFloat)) * factor;
  };
}

}  // namespace

WeightMap merge_lora(const WeightMap& weights, const WeightMap& lora, double scale, const std::string& what) {
  if (!std::isfinite(scale))
    throw Error(FC_ERROR_ARGUMENT, what + ": scale " + std::to_string(scale) + " is not a finite number");
  Complaints complaints;
  const auto changes = collect(lora, LayerNames(weights), complaints);
  if (lora.empty()) complaints.add("there is nothing in it");
  complaints.raise(what);
  WeightMap merged = weights;
  for (const auto& [key, change] : changes) {
    const std::string& layer = key;  // clang 14 lets no lambda capture a binding
    const auto add = [&](const char* part, const at::Tensor& difference) {
      const auto found = merged.find(layer + part);
      if (found == merged.end()) return complaints.add("this model has no " + layer + part);
      if (difference.numel() != found->second.numel())
        return complaints.add(layer + part + ": a difference of " + shape_text(difference) + " for " +
                              shape_text(found->second));
      found->second = added(
          found->second, [difference] { return difference.to(at::kFloat); }, scale);
    };
    if (change.weight_difference.defined()) add(".weight", change.weight_difference);
    if (change.bias_difference.defined()) add(".bias", change.bias_difference);
    if (change.modulation_difference.defined()) add(".modulation", change.modulation_difference);
    if (!change.down.defined() && !change.up.defined()) {
      const bool other = change.weight_difference.defined() || change.bias_difference.defined() ||
                         change.modulation_difference.defined();
      if (change.alpha.defined() && !other) complaints.add(layer + " has an alpha and nothing else");
      continue;
    }
    const auto found = merged.find(layer + ".weight");
    if (found == merged.end()) {
      complaints.add("this model has no " + layer + ".weight");
      continue;
    }
    if (const auto difference = product(change, found->second, layer, complaints))
      found->second = added(found->second, *difference, scale);
  }
  complaints.raise(what);
  return merged;
}

}  // namespace flowcache
