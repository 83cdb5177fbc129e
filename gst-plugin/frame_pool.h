// SPDX-License-Identifier: LGPL-2.1-or-later
// Configuring a pool of frames, whatever memory it gives.
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

/// The pool, which is taken, configured for these caps; null, and the pool is gone, if it does not accept
/// them. `size` becomes a buffer's as the pool makes it of strides and padding. video_meta: buffers may say
/// where their planes are.
GstBufferPool* configured_pool(GstBufferPool* pool, GstCaps* caps, guint* size, guint least, guint most,
                               bool video_meta);

}  // namespace flowcache::gst
