// SPDX-License-Identifier: LGPL-2.1-or-later
#include <set>
#include <sstream>

#include "error.h"
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
  if (missing.empty() && misshaped.empty() && unexpected.empty()) return;
  std::string message = what + ": the weights do not fit the config in model.json";
  add_list(message, "missing", missing);
  add_list(message, "misshaped", misshaped);
  add_list(message, "unexpected", unexpected);
  throw Error(FC_ERROR_MODEL, message);
}

}  // namespace flowcache
