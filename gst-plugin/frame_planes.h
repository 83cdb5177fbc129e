// SPDX-License-Identifier: LGPL-2.1-or-later
// A mapped video frame as the engine sees it.
#pragma once

#include <gst/video/video.h>

#include "flowcache.h"

namespace flowcache::gst {

/// The planes of a mapped frame; valid for as long as it is mapped.
fc_planes planes_of(GstVideoFrame* video, fc_memory memory);

}  // namespace flowcache::gst
