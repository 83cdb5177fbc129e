// SPDX-License-Identifier: LGPL-2.1-or-later
// LightCache's part for speed (arXiv 2510.05367): every n-th step is computed. Its part for memory is not a
// policy here: blocks work on slices of a chunk's tokens (Transformer::slice_tokens()), a chunk is decoded in
// pieces (networks/decoders/decoder.h), and "+offload" keeps residuals in host memory between steps.
#include "cache/registry.h"
#include "cache/reuse/static_mask.h"

namespace flowcache::reuse {

PolicyEntry<ReusePolicy> interval() {
  return {.name = "interval",
          .summary = "every n-th step of a chunk is computed",
          .paper = "LightCache, arXiv 2510.05367",
          .threshold = 1,
          .options = interval_options(2, 0, 0),
          .make = make_interval};
}

}  // namespace flowcache::reuse
