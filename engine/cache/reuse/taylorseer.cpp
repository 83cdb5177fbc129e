// SPDX-License-Identifier: LGPL-2.1-or-later
// TaylorSeer (arXiv 2503.06923): the steps that `interval` computes, and between them a Taylor series of the
// residual.
#include "cache/registry.h"
#include "cache/reuse/static_mask.h"

namespace flowcache::reuse {

PolicyEntry<ReusePolicy> taylorseer() {
  return {.name = "taylorseer",
          .summary = "every n-th step is computed; the others are extrapolated from the last computed ones",
          .paper = "From Reusing to Forecasting: TaylorSeer, arXiv 2503.06923",
          .threshold = 1,
          .options = interval_options(4, 3, 1),
          .make = make_interval};
}

}  // namespace flowcache::reuse
