// SPDX-License-Identifier: LGPL-2.1-or-later
#include "messages.h"

#include <gst/video/video-sei.h>

#include <algorithm>
#include <cstring>

#include "engine.h"
#include "prompts.h"
#include "timing.h"

namespace flowcache::gst {

namespace {

const char* stage_text(const std::string& stage) {
  if (stage == "read") return "Reading the model";
  if (stage == "check") return "Checking the model";
  if (stage == "load") return "Loading the model";
  if (stage == "shared") return "Waiting for another element to load the model";
  if (stage == "ready") return "Model is ready";
  return "Loading";
}

}  // namespace

void post_engine_error(GstElement* element, fc_status status, const std::string& sentence) {
  const char* text = sentence.empty() ? "The engine failed without saying why." : sentence.c_str();
  switch (status) {
    case FC_ERROR_ARGUMENT:
      GST_ELEMENT_ERROR(element, RESOURCE, SETTINGS, ("%s", text), ("engine status: argument"));
      break;
    case FC_ERROR_NOT_FOUND:
      GST_ELEMENT_ERROR(element, RESOURCE, NOT_FOUND, ("%s", text), ("engine status: not found"));
      break;
    case FC_ERROR_MODEL:
      GST_ELEMENT_ERROR(element, RESOURCE, OPEN_READ, ("%s", text), ("engine status: model"));
      break;
    case FC_ERROR_MEMORY:
      GST_ELEMENT_ERROR(element, RESOURCE, NO_SPACE_LEFT, ("%s", text), ("engine status: memory"));
      break;
    case FC_ERROR_DEVICE:
      GST_ELEMENT_ERROR(element, RESOURCE, FAILED, ("%s", text), ("engine status: device"));
      break;
    default:
      GST_ELEMENT_ERROR(element, LIBRARY, FAILED, ("%s", text),
                        ("engine status: %d", static_cast<int>(status)));
      break;
  }
}

void post_change_refused(GstElement* element, const char* what, const std::string& sentence) {
  GST_ELEMENT_WARNING(element, RESOURCE, SETTINGS, ("%s", sentence.c_str()),
                      ("change of %s refused, the stream goes on as it was", what));
}

void post_prompt(GstElement* element, PromptStage stage, const PromptReceipt& receipt,
                 const fc_chunk_info* chunk, GstClockTime pts) {
  const char* names[] = {"received", "applied", "replaced"};
  GstStructure* s =
      gst_structure_new("flowcache-prompt", "state", G_TYPE_STRING, names[static_cast<int>(stage)], "ticket",
                        G_TYPE_UINT64, receipt.ticket, "prompt", G_TYPE_STRING, receipt.text.c_str(),
                        "unknown-words", G_TYPE_STRING, receipt.unknown_words.c_str(), nullptr);
  if (stage == PromptStage::Applied && chunk != nullptr) {
    gst_structure_set(s, "chunk", G_TYPE_UINT64, chunk->chunk, "pts", G_TYPE_UINT64, pts, nullptr);
    if (receipt.blend_chunks == FC_PROMPT_RECACHE)
      gst_structure_set(s, "recached-chunks", G_TYPE_UINT, chunk->recached_chunks, "recache-ms",
                        G_TYPE_DOUBLE, chunk->recache_seconds * 1e3, nullptr);
  }
  gst_element_post_message(element, gst_message_new_element(GST_OBJECT(element), s));
}

void post_lora(GstElement* element, LoraStage stage, const LoraReceipt& receipt, const fc_chunk_info* chunk,
               GstClockTime pts) {
  const char* names[] = {"received", "applied", "replaced", "refused"};
  GstStructure* s =
      gst_structure_new("flowcache-lora", "state", G_TYPE_STRING, names[static_cast<int>(stage)], "ticket",
                        G_TYPE_UINT64, receipt.ticket, "lora", G_TYPE_STRING, receipt.list.c_str(), "seconds",
                        G_TYPE_DOUBLE, receipt.seconds, nullptr);
  if (stage == LoraStage::Applied && chunk != nullptr)
    gst_structure_set(s, "chunk", G_TYPE_UINT64, chunk->chunk, "pts", G_TYPE_UINT64, pts, nullptr);
  if (stage == LoraStage::Refused)
    gst_structure_set(s, "reason", G_TYPE_STRING, receipt.refused.c_str(), nullptr);
  gst_element_post_message(element, gst_message_new_element(GST_OBJECT(element), s));
}

void report_loras(GstElement* element, SourceState& state, const fc_chunk_info& chunk, GstClockTime pts) {
  std::deque<LoraReceipt> settled;
  {
    std::lock_guard lock(state.mutex);
    auto& pending = state.lora_receipts;
    for (; !pending.empty() && pending.front().ticket <= chunk.lora_ticket; pending.pop_front())
      settled.push_back(std::move(pending.front()));
  }
  for (const LoraReceipt& receipt : settled)
    post_lora(element, receipt.ticket == chunk.lora_ticket ? LoraStage::Applied : LoraStage::Replaced,
              receipt, &chunk, pts);
}

std::deque<PromptReceipt> settled_receipts(SourceState& state, const fc_chunk_info& chunk) {
  std::deque<PromptReceipt> settled, pending;
  std::lock_guard lock(state.mutex);
  for (PromptReceipt& receipt : state.receipts) {
    const bool is_settled = receipt.ticket == chunk.prompt_ticket || receipt.by_chunk <= chunk.chunk;
    (is_settled ? settled : pending).push_back(std::move(receipt));
  }
  state.receipts = std::move(pending);
  return settled;
}

GstStructure* make_stats(SourceState& state) {
  const StatisticsSnapshot now = state.statistics.snapshot();
  std::shared_ptr<FrameWorker> worker;
  fc_model_info model{};
  guint capacity = 0;
  {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
    model = state.model;
    const size_t chunks = worker ? worker->capacity() : state.settings.chunks_ahead;
    capacity = static_cast<guint>(chunks) * model.frames_per_chunk;
  }
  guint64 gpu_used = 0, gpu_total = 0;
  state.cuda.device_memory(&gpu_used, &gpu_total);
  const guint64 steps = now.stream.steps_computed + now.stream.steps_reused;
  const double reuse_ratio =
      steps == 0 ? 0.0 : static_cast<double>(now.stream.steps_reused) / static_cast<double>(steps);
  const double native = model.fps_d == 0 ? 0.0 : static_cast<double>(model.fps_n) / model.fps_d;
  return gst_structure_new(
      "flowcache-stats", "fps", G_TYPE_DOUBLE, now.fps, "native-fps", G_TYPE_DOUBLE, native, "frames",
      G_TYPE_UINT64, now.frames, "repeated", G_TYPE_UINT64, now.repeated, "skipped", G_TYPE_UINT64,
      now.skipped, "dropped", G_TYPE_UINT64, worker ? worker->frames_dropped() : guint64{0}, "underruns",
      G_TYPE_UINT64, now.underruns, "chunks", G_TYPE_UINT64, now.stream.chunks, "chunk-ms-p50", G_TYPE_DOUBLE,
      now.chunk_ms_p50, "chunk-ms-p95", G_TYPE_DOUBLE, now.chunk_ms_p95, "chunk-ms-p99", G_TYPE_DOUBLE,
      now.chunk_ms_p99, "steps-computed", G_TYPE_UINT64, now.stream.steps_computed, "steps-reused",
      G_TYPE_UINT64, now.stream.steps_reused, "reuse-ratio", G_TYPE_DOUBLE, reuse_ratio, "cache-threshold",
      G_TYPE_DOUBLE, now.stream.cache_threshold, "guidance-scale", G_TYPE_DOUBLE, now.stream.guidance_scale,
      "governed", G_TYPE_BOOLEAN, now.stream.deadline_seconds > 0, "governor-level", G_TYPE_UINT,
      now.stream.governor_level, "steps-allowed", G_TYPE_UINT, now.stream.steps_allowed, "deadline-ms",
      G_TYPE_DOUBLE, now.stream.deadline_seconds * 1e3, "least-chunk-ms", G_TYPE_DOUBLE,
      now.stream.least_chunk_seconds * 1e3, "kv-bytes", G_TYPE_UINT64, now.stream.kv_bytes, "kv-budget",
      G_TYPE_UINT64, now.stream.kv_budget, "kv-allocated", G_TYPE_UINT64, now.stream.kv_allocated,
      "reuse-bytes", G_TYPE_UINT64, now.stream.reuse_bytes, "ring-level", G_TYPE_UINT,
      worker ? worker->frames_ready() : 0u, "ring-capacity", G_TYPE_UINT, capacity, "latency", G_TYPE_UINT64,
      jitter_budget(state), "memory-path", G_TYPE_STRING, name_of(state.memory_path), "context-copies",
      G_TYPE_UINT64, state.cuda.context_copies(), "gpu-memory-used", G_TYPE_UINT64, gpu_used,
      "gpu-memory-total", G_TYPE_UINT64, gpu_total, "devices", G_TYPE_UINT, now.stream.devices, "device",
      G_TYPE_STRING, now.device.c_str(), "precision", G_TYPE_STRING, now.precision.c_str(), nullptr);
}

void post_underrun(GstElement* element, GstClockTime pts, GstClockTime duration, GstClockTime late,
                   const StatisticsSnapshot& counts) {
  const GstClockTime start = state_of(element).segment_start;
  GstMessage* message =
      gst_message_new_qos(GST_OBJECT(element), TRUE, pts, pts - MIN(pts, start), pts, duration);
  gst_message_set_qos_values(message, static_cast<gint64>(late), 1.0, 1000000);
  gst_message_set_qos_stats(message, GST_FORMAT_BUFFERS, counts.frames - counts.repeated,
                            counts.repeated + counts.skipped);
  gst_element_post_message(element, message);
}

void WorkerMessages::post_progress(GstElement* element, GstProgressType type, const std::string& text,
                                   int percent) {
  GstMessage* message = gst_message_new_progress(GST_OBJECT(element), type, "load", text.c_str());
  if (percent >= 0) {
    gst_structure_set(gst_message_writable_structure(message), "percent", G_TYPE_INT, percent, nullptr);
  }
  gst_element_post_message(element, message);
}

// Posts STREAM_STATUS on the thread that it is about, as GstTask does.
void WorkerMessages::post_thread(GstStreamStatusType type) {
  GstMessage* message = gst_message_new_stream_status(GST_OBJECT(source_), type, source_);
  GValue thread = G_VALUE_INIT;
  g_value_init(&thread, GST_TYPE_G_THREAD);
  g_value_set_boxed(&thread, g_thread_self());
  gst_message_set_stream_status_object(message, &thread);
  g_value_unset(&thread);
  gst_element_post_message(source_, message);
}

void WorkerMessages::thread_entered() {
  post_thread(GST_STREAM_STATUS_TYPE_ENTER);
}

void WorkerMessages::thread_left() {
  post_thread(GST_STREAM_STATUS_TYPE_LEAVE);
}

void WorkerMessages::load_progress(const char* stage, double fraction) {
  // One message for each tenth and stage: enough to watch, and the bus is not flooded.
  const int percent = static_cast<int>(CLAMP(fraction, 0.0, 1.0) * 10) * 10;
  if (percent == last_percent_ && stage == last_stage_) return;
  last_percent_ = percent;
  last_stage_ = stage;
  GST_DEBUG_OBJECT(source_, "load: %s, %d %%", stage, percent);
  post_progress(source_, GST_PROGRESS_TYPE_CONTINUE, stage_text(stage), percent);
}

void WorkerMessages::loaded(const std::string& device, const std::string& precision) {
  GST_INFO_OBJECT(source_, "model loaded on %s in %s", device.c_str(), precision.c_str());
  state_of(source_).statistics.set_engine(device, precision);
  post_progress(source_, GST_PROGRESS_TYPE_COMPLETE, "Model is ready", 100);
}

void WorkerMessages::load_cancelled() {
  post_progress(source_, GST_PROGRESS_TYPE_CANCELED, "Loading was cancelled");
}

void WorkerMessages::prompt_received(const PromptReceipt& receipt) {
  SourceState& state = state_of(source_);
  GST_DEBUG_OBJECT(source_, "prompt %" G_GUINT64_FORMAT " received: %s", receipt.ticket,
                   receipt.text.c_str());
  {
    std::lock_guard lock(state.mutex);
    state.receipts.push_back(receipt);
  }
  post_prompt(source_, PromptStage::Received, receipt);
  if (!receipt.unknown_words.empty()) {
    GST_ELEMENT_WARNING(source_, RESOURCE, SETTINGS,
                        ("\"%s\" has no effect: the model does not know it, or takes in no more words.",
                         receipt.unknown_words.c_str()),
                        ("prompt: %s; `flowcache inspect` shows what the model knows", receipt.text.c_str()));
  }
}

void WorkerMessages::prompt_overtaken(const PromptChange& change) {
  post_prompt(source_, PromptStage::Replaced, {.text = change.text});
}

void WorkerMessages::lora_changed(const LoraReceipt& receipt) {
  if (!receipt.refused.empty()) {
    post_lora(source_, LoraStage::Refused, receipt);
    return post_change_refused(source_, "lora", receipt.refused);
  }
  if (receipt.ticket == 0) return post_lora(source_, LoraStage::Replaced, receipt);
  {
    std::lock_guard lock(state_of(source_).mutex);
    state_of(source_).lora_receipts.push_back(receipt);
  }
  post_lora(source_, LoraStage::Received, receipt);
}

void WorkerMessages::prompts_fewer() {
  state_of(source_).prompt_room.notify();
}

void WorkerMessages::stream_reset() {
  SourceState& state = state_of(source_);
  std::lock_guard lock(state.mutex);
  for (PromptReceipt& receipt : state.receipts) receipt.by_chunk = 0;
}

void WorkerMessages::change_refused(const char* what, const std::string& sentence) {
  post_change_refused(source_, what, sentence);
}

// The time in which a filter's chunk is collected counts as a part of its making. step: of the estimator.
void WorkerMessages::follow_latency(bool (LatencyEstimator::*step)(double), double seconds) {
  SourceState& state = state_of(source_);
  bool changed = false;
  {
    std::lock_guard lock(state.mutex);
    changed = (state.latency.*step)(seconds + state.collecting_seconds) &&
              !GST_CLOCK_TIME_IS_VALID(state.settings.latency);
  }
  if (changed) gst_element_post_message(source_, gst_message_new_latency(GST_OBJECT(source_)));
}

void WorkerMessages::chunk_expected(double seconds) {
  follow_latency(&LatencyEstimator::expect, seconds);
}

void WorkerMessages::chunk_finished(const fc_chunk_info& chunk, const fc_stream_stats& stats,
                                    double seconds) {
  SourceState& state = state_of(source_);
  GST_DEBUG_OBJECT(source_,
                   "chunk %" G_GUINT64_FORMAT ": %.0f ms, %u steps computed, %u reused, KV %" G_GUINT64_FORMAT
                   " of %" G_GUINT64_FORMAT " bytes",
                   chunk.chunk, chunk.seconds * 1e3, chunk.steps_computed, chunk.steps_reused, chunk.kv_bytes,
                   chunk.kv_budget);
  const uint32_t devices = state.statistics.chunk_finished(chunk.seconds, stats);
  if (stats.devices < devices)
    GST_ELEMENT_WARNING(
        source_, RESOURCE, BUSY,
        ("The model ran on %u devices and goes on with %u, its history made anew: the others are lost. "
         "Frames may come late; restart the element when they are back.",
         devices, stats.devices),
        ("the engine's log says which, and why; on-lost-rank=end would end the stream"));
  follow_latency(&LatencyEstimator::add, seconds);
  bool too_slow = false;
  double playing_seconds = 0;
  {
    std::lock_guard lock(state.mutex);
    too_slow = is_live(source_) && state.speed.add(chunk.seconds, stats.least_chunk_seconds);
    playing_seconds = state.speed.playing_seconds();
  }
  if (too_slow) post_too_slow(playing_seconds, chunk.seconds, stats);
}

void WorkerMessages::post_too_slow(double playing_seconds, double seconds, const fc_stream_stats& stats) {
  const bool governed = stats.deadline_seconds > 0;
  const double least = stats.least_chunk_seconds > 0 ? stats.least_chunk_seconds : seconds;
  GST_ELEMENT_WARNING(
      source_, RESOURCE, BUSY,
      ("This machine is too slow for the stream: a chunk plays for %.0f ms and takes %.0f ms%s. Frames come "
       "late until it has less to do: %ssmaller picture, give it more threads, or take a smaller model.",
       playing_seconds * 1e3, least * 1e3, governed ? " even at the least quality" : "",
       governed ? "ask for a " : "unset `cache`, so that it computes what there is time for, ask for a "),
      ("a picture is smaller with a capsfilter after flowcachesrc, such as video/x-raw,width=…,height=…"));
}

void WorkerMessages::ended(const std::string& sentence) {
  GST_ELEMENT_WARNING(source_, RESOURCE, NO_SPACE_LEFT, ("The stream ends: %s", sentence.c_str()),
                      ("the engine has no next chunk; a reset starts over"));
}

void WorkerMessages::failed(fc_status status, const std::string& sentence, bool loading) {
  post_engine_error(source_, status, sentence);
  if (loading) post_progress(source_, GST_PROGRESS_TYPE_ERROR, sentence);
}

uint64_t WorkerMessages::now() {
  const GstClockTime stopped_at = state_of(source_).stopped_at;
  if (GST_CLOCK_TIME_IS_VALID(stopped_at)) return stopped_at;
  const PipelineClock clock(source_);
  return clock.clock() == nullptr ? 0 : clock.running_time();
}

// The oldest frame is shown when it is due. If it is later than the budget allows, or if none has been shown
// yet, it is shown now at the earliest.
uint64_t WorkerMessages::frames_until(uint64_t time, uint64_t due) {
  const bool live = is_live(source_);
  const GstClockTime soonest = live ? shifted(now(), timestamp_offset_) : 0;
  const bool overdue = due != kNoTime && soonest > due && soonest - due > jitter_budget(state_of(source_));
  const GstClockTime first = due == kNoTime || overdue ? soonest : due;
  return time <= first ? 0 : frame_at(model_, time - first);
}

void WorkerMessages::ring_changed() {
  state_of(source_).waiter.notify();
}

void register_meta() {
  // The tag says that the meta describes the picture's content, so queues, converters and scalers keep it.
  static const char* tags[] = {"video", nullptr};
  static const GstMetaInfo* const once =
      gst_meta_register_custom("FlowCacheMeta", tags, nullptr, nullptr, nullptr);
  (void)once;
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
  // The meta copies the UUID and the text.
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

}  // namespace flowcache::gst
