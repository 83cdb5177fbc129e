// SPDX-License-Identifier: LGPL-2.1-or-later
// Classes for tests: one keeps attention outputs, one counts the calls of a KV cache.
#pragma once

#include <map>

#include "networks/attention_memory.h"
#include "networks/kv_view.h"

namespace flowcache::test {

// Keeps outputs, and recalls them when told to.
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
