// SPDX-License-Identifier: LGPL-2.1-or-later
#include "case.h"
#include "samplers/unipc.h"

namespace golden {
namespace {

at::Tensor as_float(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat);
}

void unipc(Case& one) {
  for (const auto& call : one.calls()) {
    const auto sampler = flowcache::make_unipc(call.at("steps"), call.at("shift"));
    if (call.at("op") == "tables") {
      one.compare(as_float(sampler->table().timestep), call.at("timesteps"));
      one.compare(as_float(sampler->table().sigma), call.at("sigmas"));
      continue;
    }
    const auto state = sampler->begin_chunk();
    const at::Tensor velocities = one.tensor(call.at("v"));
    at::Tensor x = one.tensor(call.at("x"));
    std::vector<at::Tensor> trace;
    for (int step = 0; step < sampler->table().steps(); ++step)
      trace.push_back(x = state->step(x, velocities[step], step, {}));
    one.compare(at::stack(trace), call.at("out"));
  }
}

}  // namespace

void register_unipc(Handlers& handlers) {
  handlers["unipc-flow"] = unipc;
}

}  // namespace golden
