// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache-ask: what a script has to know for its pipeline. The answer is one line.
//
//   flowcache-ask frame-rate                           of the model, as "16 1": 16/1 frames a second
//   flowcache-ask encoder h264|x264|vp8 KBIT DISTANCE  an encoder, as gst-launch-1.0 reads it
//   flowcache-ask encoder aac KBIT
//   flowcache-ask encoder opus
//
// DISTANCE is the number of frames from one key frame to the next (encoders.h).
#include <gst/gst.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "encoders.h"
#include "frame_rate.h"

namespace {

constexpr const char* usage =
    "flowcache-ask frame-rate\n"
    "flowcache-ask encoder h264|x264|vp8 KBIT DISTANCE\n"
    "flowcache-ask encoder aac KBIT\n"
    "flowcache-ask encoder opus\n";

int tell_frame_rate() {
  std::string error;
  const auto rate = flowcache::frame_rate_of_model("", &error);
  if (!rate) return std::fprintf(stderr, "error: %s\n", error.c_str()), 1;
  std::printf("%d %d\n", rate->n, rate->d);
  return 0;
}

// Empty if there is no such encoder with so many numbers.
std::string encoder(const std::string& name, const std::vector<unsigned>& numbers) {
  if (std::count(numbers.begin(), numbers.end(), 0U) > 0) return "";
  if (name == "opus" && numbers.empty()) return flowcache::opus_encoder();
  if (name == "aac" && numbers.size() == 1) return flowcache::aac_encoder(numbers[0]);
  if (numbers.size() != 2) return "";
  if (name == "h264") return flowcache::h264_encoder(numbers[0], numbers[1]);
  if (name == "x264") return flowcache::x264_encoder(numbers[0], numbers[1]);
  return name == "vp8" ? flowcache::vp8_encoder(numbers[0], numbers[1]) : "";
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 1 && words[0] == "frame-rate") return tell_frame_rate();
  if (words.size() >= 2 && words[0] == "encoder") {
    std::vector<unsigned> numbers;
    for (size_t i = 2; i < words.size(); ++i)
      numbers.push_back(static_cast<unsigned>(std::strtoul(words[i].c_str(), nullptr, 10)));
    const std::string line = encoder(words[1], numbers);
    if (!line.empty()) return std::puts(line.c_str()), 0;
  }
  return std::fputs(usage, stderr), 2;
}
