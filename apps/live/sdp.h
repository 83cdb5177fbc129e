// SPDX-License-Identifier: LGPL-2.1-or-later
// What the other side of a WebRTC connection says, looked at before webrtcbin sees it. Pure functions.
#pragma once

#include <cstddef>
#include <string>

namespace flowcache::live {

constexpr size_t most_sdp = 32 * 1024, most_candidate = 512;

/// Empty, or why this is no answer to our offer of one video track.
std::string problem_of_answer(const std::string& sdp);
/// It looks like a candidate line, and is of moderate length.
bool is_candidate(const std::string& text);

}  // namespace flowcache::live
