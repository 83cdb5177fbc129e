// SPDX-License-Identifier: LGPL-2.1-or-later
// Ca2-VDM's queue (arXiv 2411.16375): whole chunks of clean context, first in, first out. The clean pass at
// timestep 0 is the model's (clean_context); the paper's cyclic positions need keys before RoPE, which the
// store does not hold.
#include "cache/kv/window.h"
#include "cache/registry.h"

namespace flowcache::kv {

PolicyEntry<KvPolicy> ca2() {
  return {.name = "ca2",
          .summary = "whole chunks of clean context, first in, first out",
          .paper = "Ca2-VDM, arXiv 2411.16375",
          .make = [](const Options&) -> std::unique_ptr<KvPolicy> {
            return std::make_unique<WindowKv>(WindowKv::Config{.whole_chunks = true});
          }};
}

}  // namespace flowcache::kv
