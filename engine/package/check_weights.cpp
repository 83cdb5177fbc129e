// SPDX-License-Identifier: LGPL-2.1-or-later
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "package/safetensors.h"

namespace flowcache {
namespace {

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
  for (const auto& line : lines) message.append("\n  ").append(line);
}

// A program writes all its 16-bit weights in one type. fp8 weights cannot be used without their scales.
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
  for (const auto type : {at::kFloat8_e4m3fn, at::kFloat8_e5m2})
    if (count.contains(type))
      return text(type) + " among " + std::to_string(weights.size()) +
             " tensors: fp8 checkpoints are not read; take the bf16 one";
  if (count.contains(at::kHalf) && count.contains(at::kBFloat16))
    return text(at::kHalf) + " beside " + text(at::kBFloat16) +
           ": files of different checkpoints; fetch them again from one place";
  return "";
}

// The prefix with which every wanted key is found, such as "model." where a trainer has wrapped the network;
// "" if there is none.
std::string common_prefix(const WeightMap& weights, const std::vector<WeightSpec>& wanted) {
  if (weights.empty() || wanted.empty()) return "";
  const std::string& last = wanted.back().name;
  for (const auto& [name, tensor] : weights) {
    if (!name.ends_with("." + last)) continue;
    const std::string prefix = name.substr(0, name.size() - last.size());
    for (const WeightSpec& spec : wanted)
      if (!spec.optional && !weights.contains(prefix + spec.name)) return "";
    return prefix;
  }
  return "";
}

// The name of a trainer's wrapper, if one stands in a key.
std::string wrapper_in(const WeightMap& weights) {
  for (const char* wrapper : {"_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."})
    for (const auto& [name, tensor] : weights)
      if (name.find(wrapper) != std::string::npos) return wrapper;
  return "";
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
  std::string message = what + ": the weights do not fit the config in model.json";
  if (!mixed.empty()) message += "\nmixed types: " + mixed;
  if (const std::string prefix = common_prefix(weights, wanted); !prefix.empty())
    message += "\nevery key begins with \"" + prefix + "\": convert the file again with --strip " + prefix;
  if (const std::string wrapper = wrapper_in(weights); !wrapper.empty())
    message += "\nkeys have \"" + wrapper + "\" in them: convert the file again, the converter takes it out";
  add_list(message, "missing", missing);
  add_list(message, "misshaped", misshaped);
  add_list(message, "unexpected", unexpected);
  throw UnfitWeights(message, wanted);
}

}  // namespace flowcache
