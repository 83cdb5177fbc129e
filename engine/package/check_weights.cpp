// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "package/safetensors.h"

namespace flowcache {
namespace {

constexpr size_t shown = 8;  // keys of each kind that a message names

template <typename Sizes>
std::string text_of(const Sizes& shape) {
  std::ostringstream out;
  out << '[';
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) out << ", ";
    if (shape[i] < 0)
      out << "any";
    else
      out << shape[i];
  }
  out << ']';
  return out.str();
}

bool matches(at::IntArrayRef have, const std::vector<int64_t>& want) {
  if (have.size() != want.size()) return false;
  for (size_t i = 0; i < want.size(); ++i)
    if (want[i] >= 0 && have[i] != want[i]) return false;
  return true;
}

void add_list(std::string& message, const char* title, const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  message.append("\n").append(std::to_string(lines.size())).append(" ").append(title).append(":");
  for (size_t i = 0; i < lines.size() && i < shown; ++i) message.append("\n  ").append(lines[i]);
  if (lines.size() > shown)
    message.append("\n  … and ").append(std::to_string(lines.size() - shown)).append(" more");
}

// A program writes all its 16-bit weights in one type.
std::string mixed_types(const WeightMap& weights) {
  std::map<at::ScalarType, std::pair<size_t, std::string>> count;
  for (const auto& [name, tensor] : weights) {
    auto& [number, first] = count[tensor.scalar_type()];
    if (number++ == 0) first = name;
  }
  const auto text = [&](at::ScalarType type) {
    return std::to_string(count[type].first) + " of " + c10::toString(type) + " (" + count[type].second +
           ", …)";
  };
  if (count.contains(at::kHalf) && count.contains(at::kBFloat16))
    return text(at::kHalf) + " beside " + text(at::kBFloat16) +
           ": files of different checkpoints; fetch them again from one place";
  return "";
}

// One sentence for weights that have nothing of what is wanted.
std::string another_layout(const WeightMap& weights, const std::vector<WeightSpec>& wanted) {
  const auto first_of = [](const auto& all, const auto& name) {
    std::string text;
    size_t left = 3;
    for (const auto& one : all) {
      if (left-- == 0) return text + ", …";
      text += (text.empty() ? "" : ", ") + std::string(name(one));
    }
    return text;
  };
  const std::string there = first_of(weights, [](const auto& entry) { return entry.first; });
  const std::string want = first_of(wanted, [](const WeightSpec& spec) { return spec.name; });
  if (weights.empty()) return ": there are no tensors in the file; wanted " + want + ": fetch it again";
  for (const auto& [name, tensor] : weights)
    if (name.ends_with("_flat_param"))
      return ": " + name +
             " is many tensors in one, as FSDP shards them: save the full state dict and take that";
  return ": none of the " + std::to_string(wanted.size()) +
         " keys that this network has is in the file; it begins with " + there + ", the network wants " +
         want +
         ": the file belongs to another model or another part of this one; flowcache "
         "adopt FILE says to which";
}

}  // namespace

void check_weights(const WeightMap& weights, const std::vector<WeightSpec>& wanted, const std::string& what) {
  std::vector<std::string> missing, misshaped, unexpected;
  std::set<std::string_view> known;
  for (const WeightSpec& spec : wanted) {
    known.insert(spec.name);
    const auto found = weights.find(spec.name);
    if (found == weights.end()) {
      if (!spec.optional) missing.push_back(spec.name + " " + text_of(spec.shape));
    } else if (!matches(found->second.sizes(), spec.shape)) {
      misshaped.push_back(spec.name + " is " + text_of(found->second.sizes()) + ", wanted " +
                          text_of(spec.shape));
    } else if (!found->second.is_floating_point()) {
      misshaped.push_back(spec.name + " holds " + std::string(c10::toString(found->second.scalar_type())) +
                          ", wanted floating point");
    }
  }
  for (const auto& [name, tensor] : weights)
    if (!known.contains(name)) unexpected.push_back(name + " " + text_of(tensor.sizes()));
  const std::string mixed = mixed_types(weights);
  if (missing.empty() && misshaped.empty() && unexpected.empty() && mixed.empty()) return;
  const auto must =
      std::count_if(wanted.begin(), wanted.end(), [](const WeightSpec& spec) { return !spec.optional; });
  if (missing.size() == static_cast<size_t>(must) && misshaped.empty() && !missing.empty())
    throw UnfitWeights(what + another_layout(weights, wanted), wanted);
  std::string message = what + ": the weights do not fit the config in model.json";
  if (!mixed.empty()) message += "\nmixed types: " + mixed;
  add_list(message, "missing", missing);
  add_list(message, "misshaped", misshaped);
  add_list(message, "unexpected", unexpected);
  throw UnfitWeights(message, wanted);
}

}  // namespace flowcache
