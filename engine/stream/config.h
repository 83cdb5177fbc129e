// SPDX-License-Identifier: LGPL-2.1-or-later
// The settings of a stream.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace flowcache {

struct StreamConfig {
  std::string prompt, negative_prompt;
  uint64_t seed = 0;
  std::string cache, kv_cache;  // policy specs; "": the model's
  bool live = false;       // the video is played while it is made: uses the model's policy for live streams
  double threshold = -1;   // ε; negative: the policy's or the model's
  uint64_t kv_budget = 0;  // bytes of history for all branches together; 0: the model's history_chunks
  int steps = 0, lag = 0;  // 0: the model's
  int64_t width = 0, height = 0;  // pixels; 0: the model's
  double guidance = -1;           // guidance scale; negative: the model's
  // Whether a finished chunk runs once more, clean, to write its history. 1: yes; 0: no; -1: the model's.
  int clean_context = -1;
  bool graphs = false;         // on a GPU: a network's blocks as CUDA graphs
  at::Tensor initial_frames;   // [n, 3, H, W] fp32 in 0..1: the video continues these; undefined: none
  at::Tensor initial_latents;  // the same, already encoded: [C, F, h, w]
};

// Returns its argument if it is 0..10 and finite; else throws FC_ERROR_ARGUMENT.
double check_threshold(double threshold);
// Returns its argument if it is 0..50 and finite; else throws FC_ERROR_ARGUMENT.
double check_guidance(double guidance);

}  // namespace flowcache
