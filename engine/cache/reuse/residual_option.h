// SPDX-License-Identifier: LGPL-2.1-or-later
// The option "residual" of policies that work with several kinds of residual.
#pragma once

#include "cache/options.h"
#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// words: the kinds that the policy allows, the default first.
OptionSpec residual_option(std::vector<std::string> words = {"velocity", "token_residual", "output_delta",
                                                             "latent_increment"});
// The kind that the option's value names. The kinds tail_residual and attention_output have no word here,
// because only policies made for them use them.
ReuseKind residual_of(const Options& options);

}  // namespace flowcache
