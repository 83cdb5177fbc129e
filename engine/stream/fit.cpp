// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/fit.h"

#include <algorithm>

#include "families/factory.h"
#include "stream/loaded_model.h"

namespace flowcache {
namespace {

// The native size, then three quarters and half of its sides, as far as the model draws them.
std::vector<Pixels> sizes_of(const ModelPackage& package) {
  const PictureSizes& all = package.sizes;
  std::vector<Pixels> some = {{package.width, package.height}};
  if (all.least == all.most) return some;
  const auto part = [](int64_t whole, int64_t quarters, int64_t step) {
    return whole * quarters / 4 / step * step;
  };
  for (const int64_t quarters : {3, 2}) {
    const Pixels one{part(package.width, quarters, all.step.width),
                     part(package.height, quarters, all.step.height)};
    if (one.width >= all.least.width && one.height >= all.least.height) some.push_back(one);
  }
  return some;
}

void count_needs(const ModelPackage& package, const WeightSizes& weights, Fit& fit) {
  const Precision precision = fit.fp8 ? Precision(at::kBFloat16, at::kFloat8_e4m3fn) : at::kBFloat16;
  MemoryPlan plan = plan_of(package, precision, KvPrecision::full, at::Device(at::kCUDA, 0));
  plan.transformer_bytes = weights.transformer;
  plan.text_bytes = weights.text;
  plan.decoder_bytes = weights.decoder;
  fit.device_bytes = fit.host_bytes = 0;
  for (const MemoryNeed& need : memory_needs(package, plan))
    (need.on_host ? fit.host_bytes : fit.device_bytes) += need.bytes;
}

}  // namespace

ModelPackage with_fit(const ModelPackage& package, const Fit& fit) {
  ModelPackage chosen = at_size(package, fit.size.width, fit.size.height);
  chosen.cache["history_chunks"] = fit.history;
  if (fit.one_at_a_time) chosen.sampler["lag"] = 0;
  return chosen;
}

Fit fit_to_gpu(const ModelPackage& package, uint64_t gpu_bytes) {
  const WeightSizes weights = weight_sizes(package);
  const int64_t history = package.cache.value("history_chunks", int64_t{1});
  const bool several = default_plan(package, 2, 2, false).chunks_in_flight > 1;
  Fit fit, least;
  for (const Pixels& size : sizes_of(package))
    for (const bool one_at_a_time : {false, true}) {
      if (one_at_a_time && !several) continue;
      for (int64_t chunks = history; chunks >= std::min<int64_t>(2, history); --chunks)
        for (const bool fp8 : {false, true}) {
          fit = {false, fp8, chunks, one_at_a_time, size};
          count_needs(with_fit(package, fit), weights, fit);
          if (fit.device_bytes + gpu_reserve <= gpu_bytes) {
            fit.fits = true;
            return fit;
          }
          if (least.device_bytes == 0 || fit.device_bytes < least.device_bytes) least = fit;
        }
    }
  return least;
}

}  // namespace flowcache
