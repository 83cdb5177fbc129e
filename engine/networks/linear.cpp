// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/linear.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include "process_end.h"

namespace flowcache {
namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;
using Pack = at::Tensor(const at::Tensor&, std::optional<c10::SymInt>);
using Run = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                       std::string_view, Scalars, std::optional<std::string_view>);

template <typename Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find(const char* name) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found) return std::nullopt;
  return found->typed<Signature>();
}

// LibTorch's own operators for oneDNN layers with packed weights. Compilers use them, ATen.h does not offer
// them.
const auto& pack_operator() {
  static const auto found = find<Pack>("mkldnn::_reorder_linear_weight");
  return found;
}
const auto& run_operator() {
  static const auto found = find<Run>("mkldnn::_linear_pointwise");
  return found;
}

at::Tensor run_packed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      Activation activation) {
  const std::optional<at::Tensor> b = bias.defined() ? std::optional(bias) : std::nullopt;
  if (activation == Activation::gelu_tanh)
    return run_operator()->call(x, weight, b, "gelu", Scalars(), "tanh");
  return run_operator()->call(x, weight, b, "none", Scalars(), "");
}

}  // namespace

Linear::Linear(const at::Tensor& weight, const at::Tensor& bias, Precision precision, at::Device device,
               int64_t rows)
    : weight_(weight, precision, device), out_(weight.size(0)) {
  stop_at_process_end();
  if (bias.defined()) bias_ = bias.to(device, precision.compute, false, true);
  if (!device.is_cpu() || weight_.scale.defined() || !pack_operator() || !run_operator()) return;
  try {  // tried once: a processor without the instructions refuses bf16 here
    const at::Tensor packed = pack_operator()->call(weight_.values, c10::SymInt(rows));
    run_packed(at::zeros({rows, weight.size(1)}, weight_.values.options()), packed, bias_,
               Activation::gelu_tanh);
    weight_.values = packed;
    packed_ = true;
  } catch (const c10::Error&) {
  }
}

at::Tensor Linear::operator()(const at::Tensor& x, Activation activation) const {
  if (packed_) return run_packed(x, weight_.values, bias_, activation);
  const at::Tensor y = at::linear(x, weight_.restored(), bias_);
  return activation == Activation::gelu_tanh ? at::gelu(y, "tanh") : y;
}

}  // namespace flowcache
