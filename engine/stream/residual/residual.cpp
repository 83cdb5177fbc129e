// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/residual/residual.h"

#include "base/error.h"

namespace flowcache {

std::unique_ptr<Residual> make_residual(const ReusePolicy& policy) {
  switch (policy.kind()) {
    case ReuseKind::velocity:
      return velocity_residual();
    case ReuseKind::latent_increment:
      return latent_increment_residual();
    case ReuseKind::output_delta:
      return output_delta_residual();
    case ReuseKind::token_residual:
      return token_residual();
    case ReuseKind::tail_residual:
      return tail_residual(policy.last_blocks());
    case ReuseKind::attention_output:
      return attention_residual();
  }
  throw Error(FC_ERROR_INTERNAL, "no residual exists for this kind of reuse policy");
}

}  // namespace flowcache
