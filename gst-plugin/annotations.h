// SPDX-License-Identifier: LGPL-2.1-or-later
// What travels with the frames: metas on buffers, and events at a change of prompt.
#pragma once

#include "source_state.h"

namespace flowcache::gst {

/// Registers `FlowCacheMeta`. Once, before any buffer is annotated.
void register_meta();

/// Adds `FlowCacheMeta` (chunk, frame, frames, steps-computed, steps-reused, cache-threshold, kv-bytes,
/// kv-budget, prompt-ticket, seed), and a GstReferenceTimestampMeta of caps `timestamp/x-flowcache-intent`
/// with the running time at which the chunk was begun: a prompt that came later is not in it. The buffer must
/// be writable.
void annotate(GstBuffer* buffer, const Frame& frame);

/// Adds a GstReferenceTimestampMeta of caps `timestamp/x-unix`: nanoseconds since 1970 (UTC) at which the
/// frame is due. The buffer must be writable.
void add_wall_time(GstBuffer* buffer, GstClockTime unix_time);

/// What marks the user data as FlowCacheMeta: 5f3a9c1e-86d2-4b07-9c4f-f10ccac8e5e1.
inline constexpr guint8 kSeiUuid[16] = {0x5f, 0x3a, 0x9c, 0x1e, 0x86, 0xd2, 0x4b, 0x07,
                                        0x9c, 0x4f, 0xf1, 0x0c, 0xca, 0xc8, 0xe5, 0xe1};
/// The fields of `FlowCacheMeta` as JSON in a GstVideoSEIUserDataUnregisteredMeta, which encoders or
/// flowcachesei write into the bitstream. The buffer must be writable.
void add_sei(GstBuffer* buffer, const Frame& frame);

/// Element message `flowcache-chunk`: what was done to make a chunk; `decisions` has a letter per step, C or
/// R.
void post_chunk(GstElement* element, const fc_chunk_info& chunk, GstClockTime pts);

/// A cut makes a keyframe worth its bytes: asks the encoder for one before the next buffer. From create().
void request_keyframe(GstElement* element, GstClockTime pts);
/// Tags of the stream: the prompt as title and description, before the next buffer. From create().
void send_tags(GstElement* element, const std::string& prompt);

}  // namespace flowcache::gst
