// SPDX-License-Identifier: LGPL-2.1-or-later
// A network declares which tensors it wants and where they go. Parameters then checks a file against all
// declarations at once and loads the tensors.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/interruption.h"
#include "base/process_end.h"
#include "networks/matrix.h"
#include "package/deferred.h"
#include "package/safetensors.h"

namespace flowcache {

class Parameters {
 public:
  // Declares a key. `slot` must stay at its address until load(), which fills it with a tensor of type
  // `dtype` if one is given, else of the type that load() computes with.
  void want(const std::string& name, std::vector<int64_t> shape, at::Tensor& slot,
            std::optional<at::ScalarType> dtype = {}) {
    specs_.push_back({name, std::move(shape), false});
    slots_.push_back({&slot, nullptr, dtype});
  }
  // Declares a matrix, which may be kept in fewer bits than it is computed with (matrix.h).
  void want(const std::string& name, std::vector<int64_t> shape, Matrix& slot) {
    specs_.push_back({name, std::move(shape), false});
    slots_.push_back({nullptr, &slot, {}});
  }
  // Declares a key that a file may contain and that is not read.
  void allow(const std::string& name, std::vector<int64_t> shape) {
    specs_.push_back({name, std::move(shape), true});
    slots_.push_back({});
  }
  const std::vector<WeightSpec>& specs() const { return specs_; }

  // Copies every declared tensor to `device`, and gives each up as soon as it is copied. Throws FC_ERROR_MODEL with all
  // keys that do not fit; `what` names the file in the message. passes_over: of matrices, those whose slots are left
  // empty; null: none.
  void load(WeightMap weights, Precision precision, at::Device device, const std::string& what,
            const std::function<bool(const std::string& name)>& passes_over = nullptr) {
    check_weights(weights, specs_, what);
    for (size_t i = 0; i < slots_.size(); ++i) {
      stop_at_process_end();
      stop_if_asked();
      if (slots_[i].tensor || (slots_[i].matrix && !(passes_over && passes_over(specs_[i].name))))
        fill(slots_[i], taken(weights, specs_[i].name), precision, device);
    }
  }

 private:
  struct Slot {
    at::Tensor* tensor = nullptr;
    Matrix* matrix = nullptr;
    std::optional<at::ScalarType> dtype;
  };
  static void fill(const Slot& slot, const at::Tensor& value, Precision precision, at::Device device) {
    if (slot.matrix)
      *slot.matrix = Matrix(value, precision, device);
    else
      *slot.tensor = value.to(device, slot.dtype.value_or(precision.compute), false, true).contiguous();
  }
  std::vector<WeightSpec> specs_;
  std::vector<Slot> slots_;
};

// The entries whose keys begin with none of the prefixes. For files that also hold other networks.
inline WeightMap without_prefixes(const WeightMap& weights, const std::vector<std::string>& prefixes) {
  WeightMap rest;
  for (const auto& [name, tensor] : weights) {
    bool other = false;
    for (const std::string& prefix : prefixes) other |= name.starts_with(prefix);
    if (!other) rest.emplace(name, tensor);
  }
  return rest;
}

}  // namespace flowcache
