// SPDX-License-Identifier: LGPL-2.1-or-later
// Moving what chunks keep for later steps out of the network's memory, and back in time: asynchronous cache
// swapping of LightCache (arXiv 2510.05367; its public code has none of it).
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>

namespace flowcache {

// On its way back. `ready`: what the calling thread gives the device after this call finds `tensor` filled.
struct Arrival {
  at::Tensor tensor;
  std::function<void()> ready;
};

// Copies in the order asked for, beside what the calling thread gives the device to do. Not thread-safe.
class CopyLane {
 public:
  virtual ~CopyLane() = default;
  // Begins to copy; the source may be let go at once. The result may be given to back() at once, and to
  // nothing else.
  virtual at::Tensor away(const at::Tensor& source) = 0;
  virtual Arrival back(const at::Tensor& stored) = 0;
};

// To pinned host memory on a stream of its own. FC_ERROR_ARGUMENT on a CPU, where there is nothing to move.
std::unique_ptr<CopyLane> make_copy_lane(at::Device device);

}  // namespace flowcache
