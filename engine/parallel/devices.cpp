// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>

#include "base/error.h"
#include "parallel/parallel.h"

namespace flowcache {

std::vector<std::string> parse_devices(const std::string& list) {
  std::vector<std::string> devices;
  size_t begin = 0;
  while (begin <= list.size()) {
    const size_t end = std::min(list.find(',', begin), list.size());
    devices.push_back(list.substr(begin, end - begin));
    if (devices.back().empty())
      throw Error(FC_ERROR_ARGUMENT,
                  "devices \"" + list + "\": one is empty; wanted is a list such as cuda:0,cuda:1");
    begin = end + 1;
  }
  constexpr size_t most = 64;
  if (devices.size() > most)
    throw Error(FC_ERROR_ARGUMENT, "devices: " + std::to_string(devices.size()) + " are given, at most " +
                                       std::to_string(most) + " can work on one stream");
  return devices;
}

}  // namespace flowcache
