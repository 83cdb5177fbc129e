// SPDX-License-Identifier: LGPL-2.1-or-later
// Guidance of the base MAGI-1 models. It has two scales: one for the influence of the history, one for the
// prompt's.
//
//   v = (1 - s_history) v_alone + (s_history - s_text) v_null + s_text v_text
//
// v_text: with history and caption; v_null: with history and the empty caption; v_alone: without history,
// empty caption.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace flowcache {

struct MagiGuidance {
  // history[i] and text[i] hold from times[i] on; at times[i] itself entry i holds.
  std::vector<double> times = {0.0, 0.0217, 0.1, 0.3, 0.999};
  std::vector<double> history = {1.5, 1.5, 1.5, 1.0, 1.0};
  std::vector<double> text = {7.5, 7.5, 7.5, 0.0, 0.0};

  struct Scales {
    double history = 1, text = 1;
    // Which forward passes the sum needs. A pass whose factor is zero does not run.
    bool needs_alone() const { return history != 1; }
    bool needs_null() const { return history != text; }
    bool needs_text() const { return text != 0; }
  };
  Scales scales(double t) const {
    // In fp32, as published; a border already counts from 1e-7 below it on.
    size_t index = 0;
    for (size_t i = 0; i < times.size(); ++i)
      if (static_cast<float>(times[i]) - 1e-7F < static_cast<float>(t)) index = i;
    return {history[index], text[index]};
  }

  struct Velocities {
    at::Tensor text, null, alone;  // undefined if the scales do not need them
  };
  at::Tensor combine(double t, const Velocities& v) const {
    const Scales s = scales(t);
    at::Tensor sum;
    const auto add = [&](bool needed, double weight, const at::Tensor& velocity) {
      if (needed) sum = sum.defined() ? sum + weight * velocity : weight * velocity;
    };
    add(s.needs_alone(), 1 - s.history, v.alone);
    add(s.needs_null(), s.history - s.text, v.null);
    add(s.needs_text(), s.text, v.text);
    return sum;
  }
};

}  // namespace flowcache
