// SPDX-License-Identifier: LGPL-2.1-or-later
// Steps computation masks (cache-dit): a fixed pattern of computed steps, dense at first and sparse later.
#include <algorithm>
#include <array>
#include <cmath>

#include "cache/reuse/predictor.h"
#include "cache/reuse/residual_option.h"
#include "cache/reuse/scm_masks.h"
#include "cache/reuse/static_mask.h"

namespace flowcache {
namespace {

struct Published {
  int steps;
  std::array<const char*, 4> masks;  // slow, medium, fast, ultra; 1 computes
};

constexpr std::array<const char*, 4> names = {"slow", "medium", "fast", "ultra"};

const std::array<Published, 6> published = {{
    {4, {"1101", "1101", "1101", "1101"}},
    {6, {"111001", "111001", "111001", "111001"}},
    {8, {"11111011", "11110101", "11101001", "11001001"}},
    {12, {"111101101111", "111101101001", "111010010011", "110100100011"}},
    {28,
     {"1111111101110011100110010001", "1111110110001100011000110001", "1111110100010000100000100001",
      "1111001000001000000100000001"}},
    {50,
     {"11111111111111111111110011111000111110001110001101",
      "11111111111111110011100000111000001110000011100001",
      "11111111111001100000110000000110000000001100000001",
      "11111110001100000000011000000000001100000000000001"}},
}};

}  // namespace

std::string scm_mask(std::string_view name, int steps) {
  size_t row = 0;
  while (row + 1 < names.size() && name != names[row]) ++row;
  // For another number of steps, the next longer pattern is sampled evenly.
  const Published* source = &published.back();
  for (auto one = published.rbegin(); one != published.rend(); ++one)
    if (one->steps >= steps) source = &*one;
  const std::string_view mask = source->masks[row];
  if (source->steps == steps) return std::string(mask);
  std::string own(steps, '1');
  for (int i = 0; i < steps; ++i)
    own[i] = mask[static_cast<size_t>(
        std::lround(static_cast<double>(i) * (source->steps - 1) / std::max(1, steps - 1)))];
  return own;
}

namespace reuse {

PolicyEntry<ReusePolicy> scm() {
  return {.name = "scm",
          .summary = "a fixed pattern of computed steps, dense at first and sparse later",
          .paper = "cache-dit, steps computation masking",
          .threshold = 1,
          .options = with_prediction(
              {{.name = "mask", .help = "which pattern", .words = {"medium", "slow", "fast", "ultra"}},
               residual_option()}),
          .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
            const std::string name = options.word("mask");
            const auto mask = [name, cached = std::string()](const StepInfo& info) mutable {
              if (static_cast<int>(cached.size()) != info.steps) cached = scm_mask(name, info.steps);
              return cached[info.step] == '1';
            };
            return predicted(std::make_unique<StaticMask>(mask, residual_of(options)), options);
          }};
}

}  // namespace reuse
}  // namespace flowcache
