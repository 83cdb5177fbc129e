// SPDX-License-Identifier: LGPL-2.1-or-later
// The frame rate and the picture of a model, as flowcachesrc tells them.
#pragma once

#include <gst/gst.h>

#include <optional>
#include <string>

namespace flowcache {

// n / d frames a second.
struct FrameRate {
  int n = 0, d = 1;
  // How many frames that is in so many seconds: rounded, at least one.
  unsigned frames_in(unsigned seconds) const;
};

// The rate of the model in this folder; an empty name is the model that ships. None, and a sentence, if
// flowcachesrc or the model is missing. The model's description is read, its weights are not.
std::optional<FrameRate> frame_rate_of_model(const std::string& model, std::string* error);

// The picture of the model as a filter takes it: I420 at the model's own rate, in this size (0: the model's own).
// Null, and a sentence, if there is none. The caller's.
GstCaps* picture_of_model(const std::string& model, unsigned width, unsigned height, std::string* error);

}  // namespace flowcache
