// SPDX-License-Identifier: LGPL-2.1-or-later
// The outputs beside the page, as the options ask for them: RTMP, SRT and WHIP. Main loop only.
#pragma once

#include <vector>

#include "feed.h"
#include "generator.h"
#include "output.h"

namespace flowcache::live {

class Outputs {
 public:
  // Makes the outputs. They begin with start().
  void make(const Options& options, Generator& generator, const Output::Events& events);
  // Call this when the first chunk has come. Further calls do nothing.
  void start();
  void close() { all_.clear(); }
  Json status() const;

 private:
  std::vector<std::unique_ptr<Output>> all_;
};

std::unique_ptr<Output> make_whip(const Options& options, Generator& generator, const Output::Events& events);

}  // namespace flowcache::live
