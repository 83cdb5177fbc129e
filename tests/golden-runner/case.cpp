// SPDX-License-Identifier: LGPL-2.1-or-later
#include "case.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace golden {

Case::Case(const std::filesystem::path& folder, flowcache::Precision precision, double bound,
           at::Device device)
    : folder_(folder), precision_(precision), bound_(bound), device_(device) {
  std::ifstream file(folder / "case.json");
  if (!file) throw std::runtime_error("no case.json in " + folder.string());
  json_ = nlohmann::json::parse(file);
  kind_ = json_.at("kind").get<std::string>();
  if (std::filesystem::exists(folder / "tensors.safetensors"))
    tensors_ = flowcache::read_safetensors(folder / "tensors.safetensors");
  for (auto& [name, tensor] : tensors_) tensor = tensor.to(device);
  if (std::filesystem::exists(folder / "weights.safetensors"))
    weights_ = flowcache::read_safetensors(folder / "weights.safetensors");
}

const at::Tensor& Case::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw std::runtime_error("tensors.safetensors has no " + name);
  return found->second;
}

Tolerance Case::tolerance(const std::string& name) const {
  const auto& all = json_.at("tolerance");
  if (all.contains("rtol")) return {all.at("rtol").get<double>(), all.at("atol").get<double>()};
  const auto& one = all.at(name);
  if (one.is_string()) return {};  // "exact"
  return {one.at("rtol").get<double>(), one.at("atol").get<double>()};
}

void Case::compare(const at::Tensor& got, const std::string& want_name, Tolerance tolerance) {
  ++comparisons_;
  const at::Tensor& want = tensor(want_name);
  if (!got.defined() || got.sizes() != want.sizes()) {
    std::ostringstream why;
    why << want_name << ": shape " << (got.defined() ? got.sizes() : at::IntArrayRef{}) << ", wanted "
        << want.sizes();
    return fail(why.str());
  }
  const at::Tensor a = got.to(at::kCPU, at::kDouble), b = want.to(at::kCPU, at::kDouble);
  if (bound_ > 0 && want.is_floating_point()) {
    const double distance = (a - b).norm().item<double>() / std::max(b.norm().item<double>(), 1e-12);
    largest_error_ = std::max(largest_error_, distance);
    if (distance <= bound_) return;
    std::ostringstream why;
    why << want_name << ": distance " << distance << " exceeds " << bound_;
    return fail(why.str());
  }
  const at::Tensor error = (a - b).abs();
  const at::Tensor excess = error - (tolerance.atol + tolerance.rtol * b.abs());
  if (error.numel() == 0) return;
  const double largest = error.max().item<double>();
  largest_error_ = std::max(largest_error_, largest);
  if (!(excess.max().item<double>() <= 0)) {  // also false for NaN
    std::ostringstream why;
    why << want_name << ": largest error " << largest << " exceeds rtol " << tolerance.rtol << " atol "
        << tolerance.atol;
    fail(why.str());
  }
}

void Case::fail(const std::string& why) {
  failures_.push_back(why);
}

void Case::check(bool holds, const std::string& what) {
  ++comparisons_;
  if (!holds) fail(what);
}

std::string Case::failures() const {
  if (failures_.empty() && comparisons_ == 0) return "nothing was compared";
  std::string all;
  for (const auto& one : failures_) all += (all.empty() ? "" : "; ") + one;
  return all;
}

}  // namespace golden
