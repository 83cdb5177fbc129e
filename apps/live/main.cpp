// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache-live: one generated stream for browsers, with a page to steer it. See options.cpp for what it
// takes.
#include <gst/gst.h>

#include <clocale>
#include <cstdlib>

#include "live.h"

int main(int argc, char** argv) {
  std::setlocale(LC_ALL, "");
  std::setlocale(LC_NUMERIC, "C");
  int status = 0;
  const auto options = flowcache::live::parse_options(argc, argv, &status);
  if (!options) return status;
  gst_init(nullptr, nullptr);
  flowcache::live::Live live(*options);
  return live.start() ? live.run() : 1;
}
