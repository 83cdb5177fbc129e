// SPDX-License-Identifier: LGPL-2.1-or-later
// The figures for Prometheus. Main loop only.
#pragma once

#include <memory>
#include <string>

#include "feed.h"

namespace flowcache::live {

class Metrics {
 public:
  // `with_input`: also what there is of an input.
  explicit Metrics(bool with_input);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Of every chunk, as it is made.
  void chunk_finished(double milliseconds);
  // Everything else is taken from what /api/stats says; in Prometheus' text form.
  std::string text(const Json& stats);

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace flowcache::live
