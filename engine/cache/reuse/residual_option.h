// SPDX-License-Identifier: LGPL-2.1-or-later
// The option "residual" of policies that work with several kinds of reuse.
#pragma once

#include "cache/options.h"
#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// words: the kinds that the policy allows, its default first.
OptionSpec residual_option(std::vector<std::string> words = {"velocity", "token_residual", "output_delta",
                                                             "latent_increment"});
// The option's value as a kind. The tail residual and attention are a policy's own choice and no words of it.
ReuseKind residual_of(const Options& options);

}  // namespace flowcache
