// SPDX-License-Identifier: LGPL-2.1-or-later
#include "order.h"

#include <dlfcn.h>

#include <algorithm>

namespace fake_gpu_test {
namespace {

template <typename Function>
Function* stand_in(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

Notes::Notes() {
  stand_in<decltype(fake_gpu_note)>("fake_gpu_note")(1);
}
Notes::~Notes() {
  stand_in<decltype(fake_gpu_note)>("fake_gpu_note")(0);
}
long Notes::count() {
  return stand_in<decltype(fake_gpu_operations)>("fake_gpu_operations")(nullptr, 0, 0);
}

Order::Order() : operations_(static_cast<size_t>(Notes::count())) {
  stand_in<decltype(fake_gpu_operations)>("fake_gpu_operations")(operations_.data(), 0, size());
  std::map<void*, Clock> streams, events;
  for (long i = 0; i < size(); ++i) {
    const FakeGpuOperation& one = (*this)[i];
    Clock& stream = streams[one.stream];
    switch (one.kind) {
      case FAKE_GPU_WAIT:
        merge(stream, events[one.event]);
        break;
      case FAKE_GPU_SYNC_EVENT:
        merge(host_, events[one.event]);
        break;
      case FAKE_GPU_SYNC_STREAM:
        merge(host_, stream);
        break;
      case FAKE_GPU_SYNC_DEVICE:
        for (const auto& [any, clock] : streams) merge(host_, clock);
        break;
      default:
        merge(stream, host_);
        if (is_work(one)) stream[one.stream] = i + 1;
        if (one.kind == FAKE_GPU_RECORD) events[one.event] = stream;
    }
    clocks_.push_back(streams[one.stream]);
  }
}

void Order::merge(Clock& into, const Clock& other) {
  for (const auto& [stream, count] : other) into[stream] = std::max(into[stream], count);
}

bool Order::covers(const Clock& clock, long number) const {
  const auto found = clock.find((*this)[number].stream);
  return found != clock.end() && found->second >= number + 1;
}

bool Order::before(long first, long second) const {
  return covers(clocks_.at(static_cast<size_t>(second)), first);
}

long Order::last_work(void* stream, long begin, long end) const {
  for (long i = end - 1; i >= begin; --i)
    if (is_work((*this)[i]) && (*this)[i].stream == stream) return i;
  return -1;
}

}  // namespace fake_gpu_test
