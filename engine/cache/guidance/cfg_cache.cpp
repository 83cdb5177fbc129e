// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/guidance/cfg_cache.h"

#include <algorithm>

#include "cache/registry.h"

namespace flowcache {

at::Tensor low_frequencies(int64_t h, int64_t w) {
  // The squared distance of each index from frequency zero, in either direction.
  const auto squared = [](int64_t n) {
    const at::Tensor index = at::arange(n, at::kFloat);
    return at::minimum(index, n - index).square();
  };
  const auto radius = static_cast<double>(std::min(h, w) / 5);
  return (squared(h).unsqueeze(1) + squared(w).unsqueeze(0) <= radius * radius).to(at::kFloat);
}

bool CfgCache::skips_unconditional(const StepInfo& info) {
  const auto found = chunks_.find(info.chunk);
  if (found == chunks_.end() || !found->second.low.defined()) return false;
  State& state = found->second;
  if (info.step < config_.start * info.steps || info.step >= info.steps - 1) return false;
  if (state.skipped + 1 >= config_.refresh) return false;
  ++state.skipped;
  return true;
}

void CfgCache::computed(const StepInfo& info, const at::Tensor& conditional,
                        const at::Tensor& unconditional) {
  State& state = chunks_[info.chunk];
  const at::Tensor spectrum = at::fft_fft2((unconditional - conditional).to(at::kFloat));
  const at::Tensor low = low_frequencies(spectrum.size(-2), spectrum.size(-1)).to(spectrum.device());
  state.low = spectrum * low;
  state.high = spectrum - state.low;
  state.skipped = 0;
}

at::Tensor CfgCache::unconditional(const StepInfo& info, const at::Tensor& conditional) {
  State& state = chunks_.at(info.chunk);
  if (info.step < config_.low_until * info.steps) state.low = state.low * config_.low_weight;
  if (info.step >= config_.high_from * info.steps) state.high = state.high * config_.high_weight;
  return conditional + at::real(at::fft_ifft2(state.low + state.high));
}

uint64_t CfgCache::state_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [chunk, state] : chunks_)
    if (state.low.defined()) bytes += state.low.nbytes() + state.high.nbytes();
  return bytes;
}

namespace guidance {

PolicyEntry<GuidancePolicy> cfg_cache() {
  const auto share = [](std::string name, std::string help, double value) {
    return OptionSpec{.name = std::move(name), .help = std::move(help), .value = value, .min = 0, .max = 1};
  };
  const auto weight = [](std::string name, std::string help) {
    return OptionSpec{.name = std::move(name), .help = std::move(help), .value = 1.1, .min = 0, .max = 4};
  };
  const CfgCacheConfig d;
  return {
      .name = "cfg_cache",
      .summary =
          "most steps do not run the unconditional branch; it is rebuilt from its last known difference",
      .paper = "FasterCache, arXiv 2410.19355",
      .options = {share("start", "share of a chunk's steps, at its start, that run both branches", d.start),
                  count_option("refresh", "every n-th computed step runs both branches", 5, 1),
                  share("low_until", "until this share of the steps, low frequencies are multiplied",
                        d.low_until),
                  weight("low_weight", "factor of the difference's low frequencies at each such step"),
                  share("high_from", "from this share of the steps on, high frequencies are multiplied",
                        d.high_from),
                  weight("high_weight", "factor of the difference's high frequencies at each such step")},
      .make = [](const Options& options) -> std::unique_ptr<GuidancePolicy> {
        return std::make_unique<CfgCache>(CfgCacheConfig{.start = options.number("start"),
                                                         .refresh = options.integer("refresh"),
                                                         .low_until = options.number("low_until"),
                                                         .low_weight = options.number("low_weight"),
                                                         .high_from = options.number("high_from"),
                                                         .high_weight = options.number("high_weight")});
      }};
}

}  // namespace guidance
}  // namespace flowcache
