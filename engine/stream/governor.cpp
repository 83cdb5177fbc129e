// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/governor.h"

#include <algorithm>
#include <cmath>

namespace flowcache {

namespace {

constexpr double room = 0.9;  // a rise must fit into this share of the deadline
constexpr double forgetting =
    0.2;  // how fast the estimate follows a falling time; a rising one it follows by half
constexpr int first_patience = 3, most_patience = 48;

// One slow chunk (a page fault, a neighbour's burst) should not cost half the quality, a slow machine should,
// and soon.
double follow(double estimate, double measured) {
  if (estimate == 0) return measured;
  return estimate + (measured > estimate ? 0.5 : forgetting) * (measured - estimate);
}

}  // namespace

Governor::Governor(int floor, int ceiling, int start)
    : floor_(floor), ceiling_(std::max(floor, ceiling)), start_(start > 0 ? start : 2 * floor) {
  reset();
}

void Governor::reset() {
  allowed_ = std::min(ceiling_, start_);
  step_seconds_ = other_seconds_ = 0;
  calm_ = since_rise_ = 0;
  risen_ = false;
  patience_ = first_patience;
}

void Governor::observe(double step_seconds, double other_seconds) {
  step_seconds_ = follow(step_seconds_, step_seconds);
  other_seconds_ = follow(other_seconds_, other_seconds);
  ++since_rise_;

  const double affordable = step_seconds_ > 0 ? (deadline_ - other_seconds_) / step_seconds_ : ceiling_;
  const int wanted = static_cast<int>(std::clamp(std::floor(affordable), double(floor_), double(ceiling_)));
  if (wanted < allowed_) {
    if (risen_ && since_rise_ <= 2 * patience_) patience_ = std::min(most_patience, 2 * patience_);
    risen_ = false;  // further falls belong to the same slow spell
    allowed_ = wanted;
    calm_ = 0;
    return;
  }
  if (allowed_ < ceiling_ && foretold(allowed_ + 1) <= room * deadline_)
    ++calm_;
  else
    calm_ = 0;
  if (calm_ < patience_) return;
  ++allowed_;
  calm_ = 0;
  if (since_rise_ > 4 * patience_) patience_ = std::max(first_patience, patience_ / 2);
  since_rise_ = 0;
  risen_ = true;
}

}  // namespace flowcache
