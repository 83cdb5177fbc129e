// SPDX-License-Identifier: LGPL-2.1-or-later
// Ca2-VDM's queue (arXiv 2411.16375): whole chunks of clean context, first in, first out. The clean pass at
// timestep 0 is a setting of the model (clean_context). In the paper positions are relative to the queue; its
// cyclic positions are for learned tables and do not apply to RoPE.
#include "cache/kv/window.h"
#include "cache/registry.h"

namespace flowcache::kv {

PolicyEntry<KvPolicy> ca2() {
  return {.name = "ca2",
          .summary = "whole chunks of clean context, first in, first out",
          .paper = "Ca2-VDM, arXiv 2411.16375",
          .options = {positions_option()},
          .make = [](const Options& options) -> std::unique_ptr<KvPolicy> {
            return std::make_unique<WindowKv>(
                WindowKv::Config{.whole_chunks = true, .positions = positions_of(options)});
          }};
}

}  // namespace flowcache::kv
