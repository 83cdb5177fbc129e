// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/governor.h"

#include <algorithm>
#include <cmath>

namespace flowcache {

namespace {

constexpr double room = 0.9;  // after a rise a chunk may take at most this share of the deadline
constexpr double rising = 0.5, falling = 0.2;
constexpr int first_patience = 3, most_patience = 48;

}  // namespace

double Governor::follow(double estimate, double measured) {
  if (estimate == 0) return measured;
  return estimate + (measured > estimate ? rising : falling) * (measured - estimate);
}

Governor::Governor(int floor, int ceiling, int start)
    : floor_(floor), ceiling_(std::max(floor, ceiling)), start_(start > 0 ? start : 2 * floor) {
  restart();
}

void Governor::restart() {
  allowed_ = step_seconds_ > 0 ? within(room * deadline_) : std::min(ceiling_, start_);
  calm_ = since_rise_ = 0;
  risen_ = false;
  patience_ = first_patience;
}

void Governor::expect(double step_seconds, double other_seconds) {
  step_seconds_ = step_seconds;
  other_seconds_ = other_seconds;
  restart();
}

// The largest number of computed steps, floor to ceiling, for which a chunk is expected to take at most
// `seconds`.
int Governor::within(double seconds) const {
  const double affordable = step_seconds_ > 0 ? (seconds - other_seconds_) / step_seconds_ : ceiling_;
  return static_cast<int>(std::clamp(std::floor(affordable), double(floor_), double(ceiling_)));
}

int Governor::affordable(double spent, double step_seconds) const {
  if (!(step_seconds > 0)) return ceiling_;
  const double slowdown = step_seconds_ > 0 ? std::max(1.0, step_seconds / step_seconds_) : 1;
  const double steps = (deadline_ - spent - other_seconds_ * slowdown) / step_seconds;
  return static_cast<int>(std::clamp(std::floor(steps), -1.0, double(ceiling_)));
}

void Governor::observe(double step_seconds, double other_seconds) {
  step_seconds_ = follow(step_seconds_, step_seconds);
  other_seconds_ = follow(other_seconds_, other_seconds);
  ++since_rise_;

  const int wanted = within(deadline_);
  if (wanted < allowed_) {
    if (risen_ && since_rise_ <= 2 * patience_) patience_ = std::min(most_patience, 2 * patience_);
    risen_ = false;  // further falls belong to the same slow period
    allowed_ = wanted;
    calm_ = 0;
    return;
  }
  if (allowed_ < ceiling_ && predicted(allowed_ + 1) <= room * deadline_)
    ++calm_;
  else
    calm_ = 0;
  if (calm_ < patience_) return;
  allowed_ += std::max(1, (within(room * deadline_) - allowed_) / 2);
  calm_ = 0;
  if (since_rise_ > 4 * patience_) patience_ = std::max(first_patience, patience_ / 2);
  since_rise_ = 0;
  risen_ = true;
}

}  // namespace flowcache
