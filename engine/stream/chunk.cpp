// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/chunk.h"

#include <c10/core/InferenceMode.h>

#include "stream/device.h"

namespace flowcache {

at::Tensor HostFrames::of(const at::Tensor& frames) const {
  if (frames.is_cpu()) return frames;
  if (wish_) *wish_ = true;
  const c10::InferenceMode inference;
  const std::lock_guard lock(mutex_);
  if (copy_.defined()) return copy_;
  const auto options = at::TensorOptions().dtype(at::kFloat).pinned_memory(frames.is_cuda());
  copy_ = at::empty(frames.sizes(), options).copy_(frames, /*non_blocking=*/true);
  wait_for(frames.device());
  return copy_;
}

}  // namespace flowcache
