// SPDX-License-Identifier: LGPL-2.1-or-later
// What the element tells others: messages on the bus (errors, warnings, PROGRESS, element messages), metas of
// frames, and events at a change of prompt.
#pragma once

#include "flowcachesrc.h"

namespace flowcache::gst {

// Posts an ERROR whose domain and code fit the engine's status. `sentence` is the text for the user. Any
// thread.
void post_engine_error(GstElement* element, fc_status status, const std::string& sentence);
// Posts a WARNING: a change while playing was refused, and the stream continues as it was. Any thread.
void post_change_refused(GstElement* element, const char* what, const std::string& sentence);

enum class PromptStage { Received, Applied, Replaced };
// Posts the element message `flowcache-prompt`: state (received | applied | replaced), ticket, prompt,
// unknown-words; if applied, also chunk and pts (running time of the first frame), and, if the history ran once more
// under it, recached-chunks and recache-ms. `chunk` is the one where that is known; else null. A prompt that was
// replaced before the engine got it has ticket 0 and unknown-words "". Any thread.
void post_prompt(GstElement* element, PromptStage stage, const PromptReceipt& receipt,
                 const fc_chunk_info* chunk = nullptr, GstClockTime pts = GST_CLOCK_TIME_NONE);

enum class LoraStage { Received, Applied, Replaced, Refused };
// Posts the element message `flowcache-lora`: state (received | applied | replaced | refused), ticket, lora, seconds; if
// applied, also chunk and pts, if refused, reason. chunk as above. Any thread.
void post_lora(GstElement* element, LoraStage stage, const LoraReceipt& receipt,
               const fc_chunk_info* chunk = nullptr, GstClockTime pts = GST_CLOCK_TIME_NONE);
// Posts at a chunk's first frame what happened to lists of LoRAs: the newest one that it has was applied, those before
// were replaced.
void report_loras(GstElement* element, SourceState& state, const fc_chunk_info& chunk, GstClockTime pts);

// Takes the receipts that this chunk settles, in the order of their tickets: those of its own prompt, and
// those of prompts that should have been shown by now.
std::deque<PromptReceipt> settled_receipts(SourceState& state, const fc_chunk_info& chunk);

// Makes the structure `flowcache-stats`; owned by the caller. Any thread.
GstStructure* make_stats(SourceState& state);

// Posts a QOS message of a live source for one underrun; processed and dropped count frames. Streaming
// thread.
void post_underrun(GstElement* element, GstClockTime pts, GstClockTime duration, GstClockTime late,
                   const StatisticsSnapshot& counts);

// Turns the worker's reports into messages. It exists as long as the worker.
class WorkerMessages : public FrameWorkerListener {
 public:
  // model, timestamp_offset: those of the worker's stream.
  WorkerMessages(GstElement* source, const fc_model_info& model, GstClockTimeDiff timestamp_offset)
      : source_(source), model_(model), timestamp_offset_(timestamp_offset) {}

  void thread_entered() override;
  void thread_left() override;
  void load_progress(const char* stage, double fraction) override;
  void loaded(const std::string& device, const std::string& precision) override;
  void load_cancelled() override;
  void prompt_received(const PromptReceipt& receipt) override;
  void prompt_overtaken(const PromptChange& change) override;
  void lora_changed(const LoraReceipt& receipt) override;
  void prompts_fewer() override;
  void stream_reset() override;
  void change_refused(const char* what, const std::string& sentence) override;
  void chunk_expected(double seconds) override;
  void chunk_finished(const fc_chunk_info& chunk, const fc_stream_stats& stats, double seconds) override;
  void ended(const std::string& sentence) override;
  void failed(fc_status status, const std::string& sentence, bool loading) override;
  // Running time, so that it can be compared with timestamps.
  uint64_t now() override;
  uint64_t frames_until(uint64_t time, uint64_t due) override;
  void ring_changed() override;

  // Posts PROGRESS with the code "load". percent < 0: the type's own number.
  static void post_progress(GstElement* element, GstProgressType type, const std::string& text,
                            int percent = -1);

 private:
  void post_thread(GstStreamStatusType type);
  void follow_latency(bool (LatencyEstimator::*step)(double), double seconds);
  void post_too_slow(double playing_seconds, double seconds, const fc_stream_stats& stats);

  GstElement* const source_;  // not owned; the worker is joined before the element is destroyed
  const fc_model_info model_;
  const GstClockTimeDiff timestamp_offset_;
  int last_percent_ = -1;
  std::string last_stage_;
};

// Registers `FlowCacheMeta`, once. Call it before any buffer is annotated.
void register_meta();

// Adds `FlowCacheMeta` (chunk, frame, frames, steps-computed, steps-reused, cache-threshold, kv-bytes,
// kv-budget, prompt-ticket, seed), and a GstReferenceTimestampMeta of caps `timestamp/x-flowcache-intent`
// with the running time at which the chunk was begun; later prompts are not in it. The buffer must be
// writable.
void annotate(GstBuffer* buffer, const Frame& frame);

// Adds a GstReferenceTimestampMeta of caps `timestamp/x-unix`: nanoseconds since 1970 (UTC) at which the
// frame is due. The buffer must be writable.
void add_wall_time(GstBuffer* buffer, GstClockTime unix_time);

// The UUID that marks user data as FlowCacheMeta: 5f3a9c1e-86d2-4b07-9c4f-f10ccac8e5e1.
inline constexpr guint8 kSeiUuid[16] = {0x5f, 0x3a, 0x9c, 0x1e, 0x86, 0xd2, 0x4b, 0x07,
                                        0x9c, 0x4f, 0xf1, 0x0c, 0xca, 0xc8, 0xe5, 0xe1};
// Adds the fields of `FlowCacheMeta` as JSON in a GstVideoSEIUserDataUnregisteredMeta, which encoders or
// flowcachesei write into the bitstream. The buffer must be writable.
void add_sei(GstBuffer* buffer, const Frame& frame);

// Posts the element message `flowcache-chunk`: how a chunk was made. `decisions` has one letter for each
// step, C (computed) or R (reused).
void post_chunk(GstElement* element, const fc_chunk_info& chunk, GstClockTime pts);

}  // namespace flowcache::gst
