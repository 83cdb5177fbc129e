// SPDX-License-Identifier: LGPL-2.1-or-later
#include "reports.h"

#include "filter.h"
#include "messages.h"

namespace flowcache::gst {
namespace {

// The source's base class keeps an event and sends it after the segment, before the next buffer. gst_element_send_event()
// would take the state lock, and might so wait for a state change that waits for this thread. The filter's segment has
// passed already.
void send_with_next_buffer(GstElement* element, GstEvent* event) {
  if (FLOWCACHE_IS_FILTER(element))
    gst_pad_push_event(FLOWCACHE_FILTER(element)->src, event);
  else
    GST_ELEMENT_CLASS(parent_class())->send_event(element, event);
}

void request_keyframe(GstElement* element, const FrameTime& time) {
  send_with_next_buffer(
      element, gst_video_event_new_downstream_force_key_unit(time.pts, time.stream, time.running, FALSE, 0));
}

void send_tags(GstElement* element, const std::string& prompt) {
  GstTagList* tags = gst_tag_list_new(GST_TAG_APPLICATION_NAME, "gst-flowcache", nullptr);
  // A tag must not be an empty string.
  if (!prompt.empty())
    gst_tag_list_add(tags, GST_TAG_MERGE_APPEND, GST_TAG_TITLE, prompt.c_str(), GST_TAG_DESCRIPTION,
                     prompt.c_str(), nullptr);
  if (FLOWCACHE_IS_FILTER(element)) tags = filtering::beside_the_inputs(FLOWCACHE_FILTER(element), tags);
  send_with_next_buffer(element, gst_event_new_tag(tags));
}

}  // namespace

void report_chunk(GstElement* element, SourceState& state, const Frame& frame, const FrameTime& time,
                  bool cut) {
  if (frame.index != 0) return;
  const fc_chunk_info& chunk = frame.chunk->info();
  for (const PromptReceipt& receipt : settled_receipts(state, chunk)) {
    const bool applied = receipt.ticket == chunk.prompt_ticket;
    if (applied) send_tags(element, receipt.text);
    cut = cut || (applied && receipt.ticket != 0 && receipt.blend_chunks == 0);
    post_prompt(element, applied ? PromptStage::Applied : PromptStage::Replaced, receipt, &chunk,
                time.running);
  }
  if (cut) request_keyframe(element, time);
  report_loras(element, state, chunk, time.running);
  bool wanted = false;
  {
    std::lock_guard lock(state.mutex);
    wanted = state.settings.report_chunks;
  }
  if (wanted) post_chunk(element, chunk, time.running);
}

void report_statistics(GstElement* element, SourceState& state, GstClockTime running) {
  GstClockTime interval = 0;
  {
    std::lock_guard lock(state.mutex);
    interval = state.settings.stats_interval;
  }
  GstClockTime& due = state.stats_due;
  if (interval == 0 || !GST_CLOCK_TIME_IS_VALID(running) || (GST_CLOCK_TIME_IS_VALID(due) && running < due))
    return;
  const bool first = !GST_CLOCK_TIME_IS_VALID(due);
  due = running + MIN(interval, GST_CLOCK_TIME_NONE - 1 - running);
  if (!first)
    gst_element_post_message(element, gst_message_new_element(GST_OBJECT(element), make_stats(state)));
}

}  // namespace flowcache::gst
