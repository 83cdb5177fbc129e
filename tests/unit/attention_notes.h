// SPDX-License-Identifier: LGPL-2.1-or-later
// Whoever keeps attention outputs, and whoever counts what a network asks of a cache, for tests.
#pragma once

#include <map>

#include "networks/attention_memory.h"
#include "networks/kv_view.h"

namespace flowcache::test {

// Hands back what was kept, once told to.
class Notes final : public AttentionMemory {
 public:
  at::Tensor recall(int layer) override { return hands_back ? kept.at(layer) : at::Tensor(); }
  void keep(int layer, const at::Tensor& output) override { kept[layer] = output; }
  bool hands_back = false;
  std::map<int, at::Tensor> kept;
};

class CountingKeys final : public KvView {
 public:
  KeyValue append(int, const at::Tensor&, const KeyValue& own) override {
    ++appended;
    return own;
  }
  int appended = 0;
};

}  // namespace flowcache::test
