// SPDX-License-Identifier: LGPL-2.1-or-later
// Small tensors on their way to the device, without waiting for it.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// `host` on `device`; itself on the CPU. To a GPU it goes through pinned memory, so that the copy joins the device's work
// and the host goes on at once.
inline at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  return device.is_cuda() ? host.pin_memory().to(device, /*non_blocking=*/true) : host.to(device);
}

}  // namespace flowcache
