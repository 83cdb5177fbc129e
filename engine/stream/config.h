// SPDX-License-Identifier: LGPL-2.1-or-later
// What can be asked of a stream.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace flowcache {

struct StreamConfig {
  std::string prompt, negative_prompt;
  uint64_t seed = 0;
  std::string cache, kv_cache;    // policy specs; "": the model's
  bool live = false;              // played as it is made: the model's policy is the one for live streams
  double threshold = -1;          // ε; negative: the policy's or the model's
  uint64_t kv_budget = 0;         // bytes of history over all branches; 0: the model's history_chunks
  int steps = 0, lag = 0;         // 0: the model's
  int64_t width = 0, height = 0;  // of the picture; 0: the model's
  double guidance = -1;           // negative: the model's
  // 1: a finished chunk runs once more, clean, for its history; 0: it does not; -1: the model's.
  int clean_context = -1;
  at::Tensor initial_frames;   // [n, 3, H, W] fp32 in 0..1 that the video goes on from; undefined: none
  at::Tensor initial_latents;  // the same, already encoded: [C, F, h, w]
};

// 0..10 and finite, or FC_ERROR_ARGUMENT. Returns its argument.
double check_threshold(double threshold);
// 0..50 and finite, or FC_ERROR_ARGUMENT. Returns its argument.
double check_guidance(double guidance);

}  // namespace flowcache
