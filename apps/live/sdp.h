// SPDX-License-Identifier: LGPL-2.1-or-later
// Checks what the other side of a WebRTC connection sends, before webrtcbin sees it. Pure functions.
#pragma once

#include <cstddef>
#include <string>

namespace flowcache::live {

constexpr size_t most_sdp = 32 * 1024, most_candidate = 512;

// Why this is no answer to our offer of one video track; empty if it is one.
std::string problem_of_answer(const std::string& sdp);
// True if the text begins like a candidate line and is not too long.
bool is_candidate(const std::string& text);

}  // namespace flowcache::live
