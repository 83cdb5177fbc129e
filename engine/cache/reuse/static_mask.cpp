// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/static_mask.h"

namespace flowcache {

Decision StaticMask::decide_one(const ChunkStep& step, double threshold) {
  const StepInfo& info = step.info;
  const bool first = begun_.insert(info.chunk).second;
  const bool compute = !(threshold > 0) || info.must_compute || first || info.step == 0 || mask_(info);
  return {.action = compute ? Action::compute : Action::reuse, .forced = compute};
}

OptionSpec residual_option(std::vector<std::string> words) {
  return {.name = "residual", .help = "what is applied again", .words = std::move(words)};
}

}  // namespace flowcache
