// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/lane.h"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace flowcache {
namespace {

c10::Stream current_stream(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

struct IdleLanes {
  std::mutex mutex;
  std::map<std::pair<c10::DeviceIndex, bool>, std::vector<Lane>>
      lanes;  // by device, and whether they come first
};
IdleLanes& idle_lanes() {
  static auto* const all = new IdleLanes;  // never destroyed: a stream may be closed while the process ends
  return *all;
}

}  // namespace

Lane::Lane(at::Device device, bool first) {
  if (!device.is_cuda()) return;
  at::globalContext().lazyInitDevice(device.type());
  stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, first);
}

void Lane::wait() const {
  if (stream_) stream_->synchronize();
}

LentLane::LentLane(at::Device device, bool first) : device_(device), first_(first) {
  if (!device.is_cuda()) return;
  {
    IdleLanes& idle = idle_lanes();
    const std::lock_guard lock(idle.mutex);
    std::vector<Lane>& lanes = idle.lanes[{device.index(), first}];
    if (!lanes.empty()) {
      // The lowest: so the same few are used again, in whatever order they came back.
      const auto lowest = std::min_element(
          lanes.begin(), lanes.end(),
          [](const Lane& one, const Lane& other) { return one.stream()->id() < other.stream()->id(); });
      lane_ = *lowest;
      lanes.erase(lowest);
      return;
    }
  }
  lane_ = Lane(device, first);
}

LentLane::~LentLane() {
  if (!lane_.stream()) return;
  IdleLanes& idle = idle_lanes();
  const std::lock_guard lock(idle.mutex);
  idle.lanes[{device_.index(), first_}].push_back(lane_);
}

Mark Mark::here(at::Device device, bool timed) {
  Mark mark;
  if (!device.is_cuda()) return mark;
  mark.event_ = std::make_shared<c10::Event>(
      device.type(), timed ? c10::EventFlag::BACKEND_DEFAULT : c10::EventFlag::PYTORCH_DEFAULT);
  mark.event_->record(current_stream(device));
  return mark;
}

void Mark::block() const {
  if (event_) event_->block(current_stream(event_->device()));
}

void Mark::wait() const {
  if (event_ && !event_->query()) event_->synchronize();
}

bool Mark::reached() const {
  return !event_ || event_->query();
}

double Mark::seconds(const Mark& begin, const Mark& end) {
  return begin.event_ && end.event_ ? begin.event_->elapsedTime(*end.event_) / 1000 : 0;
}

void use_here(const at::Tensor& tensor) {
  if (tensor.defined() && tensor.is_cuda()) tensor.record_stream(current_stream(tensor.device()));
}

Handed::Handed(at::Tensor tensor) : tensor_(std::move(tensor)) {
  if (tensor_.defined()) made_ = Mark::here(tensor_.device());
}

at::Tensor Handed::take() const {
  made_.block();
  use_here(tensor_);
  return tensor_;
}

}  // namespace flowcache
