// SPDX-License-Identifier: LGPL-2.1-or-later
#include "annotations.h"

#include <gst/video/video-sei.h>

#include <algorithm>
#include <cstring>

namespace flowcache::gst {

void register_meta() {
  // Tagged as being about the picture's content, so that queues, converters and scalers carry it on.
  static const char* tags[] = {"video", nullptr};
  gst_meta_register_custom("FlowCacheMeta", tags, nullptr, nullptr, nullptr);
}

void annotate(GstBuffer* buffer, const Frame& frame) {
  const fc_chunk_info& chunk = frame.chunk->info();
  GstCustomMeta* meta = gst_buffer_add_custom_meta(buffer, "FlowCacheMeta");
  gst_structure_set(gst_custom_meta_get_structure(meta), "chunk", G_TYPE_UINT64, chunk.chunk, "frame",
                    G_TYPE_UINT, frame.index, "frames", G_TYPE_UINT, chunk.frames, "steps-computed",
                    G_TYPE_UINT, chunk.steps_computed, "steps-reused", G_TYPE_UINT, chunk.steps_reused,
                    "cache-threshold", G_TYPE_DOUBLE, chunk.cache_threshold, "kv-bytes", G_TYPE_UINT64,
                    chunk.kv_bytes, "kv-budget", G_TYPE_UINT64, chunk.kv_budget, "prompt-ticket",
                    G_TYPE_UINT64, chunk.prompt_ticket, "seed", G_TYPE_UINT64, chunk.seed, nullptr);
  if (!GST_CLOCK_TIME_IS_VALID(frame.chunk->started())) return;
  static GstStaticCaps intent = GST_STATIC_CAPS("timestamp/x-flowcache-intent");
  GstCaps* caps = gst_static_caps_get(&intent);
  gst_buffer_add_reference_timestamp_meta(buffer, caps, frame.chunk->started(), GST_CLOCK_TIME_NONE);
  gst_caps_unref(caps);
}

void add_wall_time(GstBuffer* buffer, GstClockTime unix_time) {
  static GstStaticCaps clock = GST_STATIC_CAPS("timestamp/x-unix");
  GstCaps* caps = gst_static_caps_get(&clock);
  gst_buffer_add_reference_timestamp_meta(buffer, caps, unix_time, GST_CLOCK_TIME_NONE);
  gst_caps_unref(caps);
}

void add_sei(GstBuffer* buffer, const Frame& frame) {
  const fc_chunk_info& chunk = frame.chunk->info();
  // std::to_string and printf follow the program's locale, JSON does not.
  char threshold[G_ASCII_DTOSTR_BUF_SIZE];
  g_ascii_formatd(threshold, sizeof threshold, "%g", chunk.cache_threshold);
  g_autofree char* json = g_strdup_printf(
      "{\"generator\":\"flowcache\",\"chunk\":%" G_GUINT64_FORMAT
      ",\"frame\":%u,\"frames\":%u,\"steps-computed\":%u,\"steps-reused\":%u,\"cache-threshold\":%s,"
      "\"kv-bytes\":%" G_GUINT64_FORMAT ",\"kv-budget\":%" G_GUINT64_FORMAT
      ",\"prompt-ticket\":%" G_GUINT64_FORMAT ",\"seed\":%" G_GUINT64_FORMAT "}",
      static_cast<guint64>(chunk.chunk), frame.index, chunk.frames, chunk.steps_computed, chunk.steps_reused,
      threshold, static_cast<guint64>(chunk.kv_bytes), static_cast<guint64>(chunk.kv_budget),
      static_cast<guint64>(chunk.prompt_ticket), static_cast<guint64>(chunk.seed));
  // The meta copies both.
  guint8 uuid[sizeof kSeiUuid];
  std::copy(std::begin(kSeiUuid), std::end(kSeiUuid), uuid);
  gst_buffer_add_video_sei_user_data_unregistered_meta(buffer, uuid, reinterpret_cast<guint8*>(json),
                                                       std::strlen(json));
}

void post_chunk(GstElement* element, const fc_chunk_info& chunk, GstClockTime pts) {
  std::string decisions;
  for (uint32_t step = 0; chunk.decisions != nullptr && step < chunk.steps_computed + chunk.steps_reused;
       ++step) {
    decisions += chunk.decisions[step] != 0 ? 'C' : 'R';
  }
  GstStructure* s = gst_structure_new(
      "flowcache-chunk", "chunk", G_TYPE_UINT64, chunk.chunk, "pts", G_TYPE_UINT64, pts, "milliseconds",
      G_TYPE_DOUBLE, chunk.seconds * 1e3, "steps-computed", G_TYPE_UINT, chunk.steps_computed, "steps-reused",
      G_TYPE_UINT, chunk.steps_reused, "decisions", G_TYPE_STRING, decisions.c_str(), "cache-threshold",
      G_TYPE_DOUBLE, chunk.cache_threshold, "kv-bytes", G_TYPE_UINT64, chunk.kv_bytes, "kv-budget",
      G_TYPE_UINT64, chunk.kv_budget, "prompt-ticket", G_TYPE_UINT64, chunk.prompt_ticket, "seed",
      G_TYPE_UINT64, chunk.seed, nullptr);
  gst_element_post_message(element, gst_message_new_element(GST_OBJECT(element), s));
}

namespace {

/// Behind the segment and before the next buffer: the base class keeps the event for then. Not through
/// gst_element_send_event(), which takes the state lock, and so would wait for a state change that waits for
/// this thread.
void send_with_next_buffer(GstElement* element, GstEvent* event) {
  GST_ELEMENT_CLASS(parent_class())->send_event(element, event);
}

}  // namespace

void request_keyframe(GstElement* element, GstClockTime pts) {
  const GstClockTime stream_time = pts - FLOWCACHE_SRC(element)->state->segment_start;
  send_with_next_buffer(element,
                        gst_video_event_new_downstream_force_key_unit(pts, stream_time, pts, FALSE, 0));
}

void send_tags(GstElement* element, const std::string& prompt) {
  GstTagList* tags = gst_tag_list_new(GST_TAG_APPLICATION_NAME, "gst-flowcache", nullptr);
  // An empty string is no valid tag.
  if (!prompt.empty())
    gst_tag_list_add(tags, GST_TAG_MERGE_APPEND, GST_TAG_TITLE, prompt.c_str(), GST_TAG_DESCRIPTION,
                     prompt.c_str(), nullptr);
  send_with_next_buffer(element, gst_event_new_tag(tags));
}

}  // namespace flowcache::gst
