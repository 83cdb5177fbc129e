// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/chunk.h"

#include <c10/core/InferenceMode.h>

#include "stream/device.h"

namespace flowcache {
namespace {

at::Tensor copy_to_host(const at::Tensor& frames) {
  const auto options = at::TensorOptions().dtype(at::kFloat).pinned_memory(frames.is_cuda());
  return at::empty(frames.sizes(), options).copy_(frames, /*non_blocking=*/true);
}

}  // namespace

void HostFrames::begin(const at::Tensor& frames) {
  if (frames.is_cpu()) return;
  copy_ = copy_to_host(frames);
  copied_ = Mark::here(frames.device());
}

at::Tensor HostFrames::of(const at::Tensor& frames, const Mark& made) const {
  if (frames.is_cpu()) return frames;
  if (wish_) *wish_ = true;
  const c10::InferenceMode inference;
  const std::lock_guard lock(mutex_);
  if (!copy_.defined()) {
    const LentLane lane(frames.device());
    const OnLane here(*lane);
    made.block();
    copy_ = copy_to_host(frames);
    wait_for(frames.device());
  }
  copied_.wait();
  return copy_;
}

}  // namespace flowcache
