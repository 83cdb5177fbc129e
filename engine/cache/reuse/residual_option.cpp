// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/residual_option.h"

namespace flowcache {

OptionSpec residual_option(std::vector<std::string> words) {
  return {.name = "residual", .help = "what is applied again", .words = std::move(words)};
}

ReuseKind residual_of(const Options& options) {
  const std::string& word = options.word("residual");
  if (word == "latent_increment") return ReuseKind::latent_increment;
  if (word == "output_delta") return ReuseKind::output_delta;
  return word == "token_residual" ? ReuseKind::token_residual : ReuseKind::velocity;
}

}  // namespace flowcache
