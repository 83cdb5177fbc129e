// SPDX-License-Identifier: LGPL-2.1-or-later
// Numbers of the element's properties, shared by their texts and their values.
#pragma once

namespace flowcache::gst {

enum {
  PROP_0,
  PROP_MODEL,
  PROP_PROMPT,
  PROP_NEGATIVE_PROMPT,
  PROP_SCRIPT_LOCATION,
  PROP_SEED,
  PROP_CACHE,
  PROP_CACHE_THRESHOLD,
  PROP_KV_CACHE,
  PROP_KV_BUDGET,
  PROP_STEPS,
  PROP_LAG,
  PROP_GUIDANCE_SCALE,
  PROP_DEVICE,
  PROP_THREADS,
  PROP_IS_LIVE,
  PROP_LATENCY,
  PROP_UNDERRUN,
  PROP_MAX_CHUNKS_AHEAD,
  PROP_STATS,
  PROP_STATS_INTERVAL,
  PROP_BLEND_CHUNKS,
  PROP_REPORT_CHUNKS,
  PROP_SEI,
  PROP_QOS,
};

}  // namespace flowcache::gst
