// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/offload.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "base/error.h"

namespace flowcache {
namespace {

class HostLane final : public CopyLane {
 public:
  explicit HostLane(at::Device device)
      : device_(device), impl_(device.type()), side_(impl_.getStreamFromGlobalPool(device)) {}

  at::Tensor away(const at::Tensor& source) override {
    mark(current()).block(side_);  // waits until `source` has been computed
    const c10::StreamGuard on_side(side_);
    at::Tensor stored = at::empty_like(source, source.options().device(at::kCPU).pinned_memory(true));
    stored.copy_(source, /*non_blocking=*/true);
    source.record_stream(side_);  // its memory is not used for anything else before the copy is done
    return stored;
  }

  Arrival back(const at::Tensor& stored) override {
    const c10::StreamGuard on_side(side_);
    at::Tensor tensor = at::empty_like(stored, stored.options().device(device_).pinned_memory(false));
    tensor.copy_(stored, /*non_blocking=*/true);
    auto copied = std::make_shared<c10::Event>(mark(side_));
    return {tensor, [this, tensor, copied] {
              copied->block(current());
              tensor.record_stream(current());
            }};
  }

 private:
  c10::Stream current() const { return impl_.getStream(device_); }
  c10::Event mark(const c10::Stream& stream) const {
    c10::Event event(device_.type());
    event.record(stream);
    return event;
  }

  at::Device device_;
  c10::impl::VirtualGuardImpl impl_;
  c10::Stream side_;
};

}  // namespace

std::unique_ptr<CopyLane> make_copy_lane(at::Device device) {
  if (device.is_cpu())
    throw Error(
        FC_ERROR_ARGUMENT,
        "+offload moves what is kept for later steps to host memory, where it already is on device=cpu: "
        "leave +offload out");
  return std::make_unique<HostLane>(device);
}

}  // namespace flowcache
