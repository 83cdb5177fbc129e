// SPDX-License-Identifier: LGPL-2.1-or-later
// The other ways out of the running stream, as the options ask: RTMP, SRT and WHIP. Main loop only.
#pragma once

#include <vector>

#include "feed.h"
#include "generator.h"
#include "output.h"

namespace flowcache::live {

class Outputs {
 public:
  /// They begin with start().
  void make(const Options& options, Generator& generator, const Output::Events& events);
  /// When the first chunk is there; more calls do nothing.
  void start();
  void close() { all_.clear(); }
  Json status() const;

 private:
  std::vector<std::unique_ptr<Output>> all_;
};

std::unique_ptr<Output> make_whip(const Options& options, Generator& generator, const Output::Events& events);

}  // namespace flowcache::live
