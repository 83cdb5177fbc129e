// SPDX-License-Identifier: LGPL-2.1-or-later
// Moves residuals out of the device's memory between steps and back before they are used: the asynchronous
// cache swapping of LightCache (arXiv 2510.05367; not in its public code).
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>

namespace flowcache {

// A tensor that is being copied back. After the calling thread has called ready(), the device work that it
// submits finds `tensor` filled.
struct Arrival {
  at::Tensor tensor;
  std::function<void()> ready;
};

// Copies in the order of the calls, while the device does other work. Not thread-safe.
class CopyLane {
 public:
  virtual ~CopyLane() = default;
  // Begins to copy `source`, which may be released at once. The result may be passed to back() at once; it
  // must not be used for anything else.
  virtual at::Tensor away(const at::Tensor& source) = 0;
  virtual Arrival back(const at::Tensor& stored) = 0;
};

// A lane that copies to pinned host memory on a device stream of its own. Throws FC_ERROR_ARGUMENT for the
// CPU, where there is nothing to move.
std::unique_ptr<CopyLane> make_copy_lane(at::Device device);

}  // namespace flowcache
