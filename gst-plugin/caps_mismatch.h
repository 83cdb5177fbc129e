// SPDX-License-Identifier: LGPL-2.1-or-later
// Why two sides cannot agree, in words.
#pragma once

#include <gst/gst.h>

#include <string>

namespace flowcache::gst {

/// Which fields stand in the way, from the pair of structures that comes closest.
std::string explain_mismatch(const GstCaps* ours, const GstCaps* theirs);

}  // namespace flowcache::gst
