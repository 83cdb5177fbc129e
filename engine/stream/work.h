// SPDX-License-Identifier: LGPL-2.1-or-later
// What the calling thread needs for arithmetic with a model, while an object of this exists.
#pragma once

#include <c10/core/InferenceMode.h>

#include <optional>

#include "stream/device.h"
#include "stream/lane.h"
#include "stream/libtorch_settings.h"
#include "stream/loaded_model.h"

namespace flowcache {

class Work {
 public:
  // lane: of the model's device; what the calling thread gives the device goes there.
  Work(const LoadedModel& model, const Lane& lane) : Work(model.threads, model.device, lane) {}
  Work(unsigned threads, at::Device device, const Lane& lane) : threads_(threads), lane_(lane) {
    if (device.is_cuda()) settings_.emplace();
  }

 private:
  c10::InferenceMode inference_;
  ArithmeticThreads threads_;
  OnLane lane_;
  std::optional<LibTorchSettings> settings_;
};

}  // namespace flowcache
