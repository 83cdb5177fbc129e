// SPDX-License-Identifier: LGPL-2.1-or-later
// A GPU's order of work. A lane is a stream of LibTorch's pool: what is given to one lane runs in that order, and lanes
// run side by side. The engine gives nothing to the device's default stream. That one waits for the work of other
// libraries in the process, such as an encoder's, and makes them wait.
//
// On every other device there is one order, and all that is here does nothing.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <memory>
#include <optional>

namespace flowcache {

// Copies mean the same lane. Any thread.
class Lane {
 public:
  Lane() = default;
  // first: where the device has a choice, this lane's work comes before that of others.
  explicit Lane(at::Device device, bool first = false);
  // Waits until the device has done all that was given to the lane.
  void wait() const;
  std::optional<c10::Stream> stream() const { return stream_; }

 private:
  std::optional<c10::Stream> stream_;
};

// While it exists, all that the calling thread gives the device goes to this lane.
class OnLane {
 public:
  explicit OnLane(const Lane& lane) : guard_(lane.stream()) {}

 private:
  c10::OptionalStreamGuard guard_;
};

// A lane of its own for as long as this exists; none on a device without lanes. Lanes that are given back are lent again,
// because LibTorch keeps freed memory, and cuBLAS its workspace, apart for each lane. The owner waits for the lane before
// it is gone. Any thread.
class LentLane {
 public:
  explicit LentLane(at::Device device, bool first = false);
  ~LentLane();
  LentLane(const LentLane&) = delete;
  LentLane& operator=(const LentLane&) = delete;
  const Lane& operator*() const { return lane_; }
  const Lane* operator->() const { return &lane_; }

 private:
  at::Device device_;
  bool first_;
  Lane lane_;
};

// A place in a lane's work. Copies mean the same place. Any thread.
class Mark {
 public:
  Mark() = default;  // of nothing, long reached
  // Behind all that the calling thread's lane of `device` has been given. timed: for seconds().
  static Mark here(at::Device device, bool timed = false);
  // What the calling thread's lane is given from now on runs after the mark.
  void block() const;
  // Waits until the device has reached the mark.
  void wait() const;
  bool reached() const;
  // The device's time from one mark to a later one. Both are timed and reached.
  static double seconds(const Mark& begin, const Mark& end);

 private:
  std::shared_ptr<c10::Event> event_;
};

// The calling thread's lane uses memory that another lane has made: once this thread lets go of the tensor, the memory
// is not used for anything else before the lane has done what it was given until then.
void use_here(const at::Tensor& tensor);

// A tensor that one lane makes and others use.
class Handed {
 public:
  Handed() = default;
  // tensor: made by what the calling thread's lane has been given.
  explicit Handed(at::Tensor tensor);
  // The tensor, for what the calling thread's lane is given from now on.
  at::Tensor take() const;

 private:
  at::Tensor tensor_;
  Mark made_;
};

}  // namespace flowcache
