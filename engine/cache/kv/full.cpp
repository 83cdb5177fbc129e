// SPDX-License-Identifier: LGPL-2.1-or-later
// Nothing is dropped, and the stream ends when the budget is full. For videos of limited length, and for
// comparisons.
#include "cache/registry.h"

namespace flowcache {
namespace {

class FullKv final : public KvPolicy {
 public:
  bool drops() const override { return false; }
  at::Tensor keep(const HistoryLayer& layer, int64_t) override {
    return at::arange(layer.k.size(1), at::kLong);
  }
};

}  // namespace

namespace kv {

PolicyEntry<KvPolicy> full() {
  return {.name = "full",
          .summary = "keeps everything; the stream ends when the budget is full",
          .make = [](const Options&) -> std::unique_ptr<KvPolicy> { return std::make_unique<FullKv>(); }};
}

}  // namespace kv
}  // namespace flowcache
