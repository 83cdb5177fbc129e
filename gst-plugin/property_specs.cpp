// SPDX-License-Identifier: LGPL-2.1-or-later
// What each property is called, means, may be and when it may change: the text of gst-inspect-1.0.
#include "property_ids.h"
#include "source_state.h"

namespace flowcache::gst {
namespace {

constexpr auto kReadWrite = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
constexpr auto kReady = static_cast<GParamFlags>(kReadWrite | GST_PARAM_MUTABLE_READY);
constexpr auto kPlaying = static_cast<GParamFlags>(kReadWrite | GST_PARAM_MUTABLE_PLAYING);
constexpr auto kControllable = static_cast<GParamFlags>(kPlaying | GST_PARAM_CONTROLLABLE);

GType underrun_type() {
  static const GEnumValue values[] = {
      {static_cast<int>(Underrun::Repeat), "Push the last frame again, flagged GAP: a steady rate", "repeat"},
      {static_cast<int>(Underrun::Skip), "Leave slots empty; the next frame is flagged DISCONT", "skip"},
      {static_cast<int>(Underrun::Stall), "Wait, and move all later timestamps by the delay", "stall"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstFlowCacheUnderrun", values);
  return type;
}

GType clean_context_type() {
  static const GEnumValue values[] = {
      {static_cast<int>(CleanContext::Model), "As the model does it", "model"},
      {static_cast<int>(CleanContext::Off), "The last step's keys and values: no more work", "off"},
      {static_cast<int>(CleanContext::On), "Those of one more pass over the finished chunk", "on"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstFlowCacheCleanContext", values);
  return type;
}

void install_model_properties(GObjectClass* k) {
  g_object_class_install_property(
      k, PROP_MODEL,
      g_param_spec_string("model", "Model", "Folder with the model's model.json; unset: the model that ships",
                          nullptr, kReady));
  g_object_class_install_property(
      k, PROP_DEVICE,
      g_param_spec_string(
          "device", "Device",
          "Where the model runs: auto, cpu, cuda or cuda:N; cuda without a driver is an error", "auto",
          kReady));
  g_object_class_install_property(
      k, PROP_THREADS,
      g_param_spec_uint("threads", "Threads",
                        "CPU threads of the model's arithmetic (0 = all that the process may use)", 0, 1024,
                        0, kReady));
  g_object_class_install_property(
      k, PROP_STEPS,
      g_param_spec_uint("steps", "Steps", "Denoising steps per chunk (0 = the model's default)", 0, 1000, 0,
                        kReady));
  g_object_class_install_property(
      k, PROP_LAG,
      g_param_spec_uint("lag", "Lag",
                        "Steps between the start of a chunk and the next; steps/lag chunks are in flight "
                        "(0 = the model's default)",
                        0, 1000, 0, kReady));
  g_object_class_install_property(
      k, PROP_CLEAN_CONTEXT,
      g_param_spec_enum(
          "clean-context", "Clean context",
          "What later chunks see of a finished one: the keys and values of its last step, which is then "
          "always computed, or of one more pass of the network over the finished chunk",
          clean_context_type(), static_cast<int>(CleanContext::Model), kReady));
  g_object_class_install_property(
      k, PROP_SEED,
      g_param_spec_uint64(
          "seed", "Seed",
          "Same seed, prompt, model and options: the same video, bit by bit, unless it is governed "
          "(see `cache`)",
          0, G_MAXUINT64, 0, kReady));
}

void install_prompt_properties(GObjectClass* k) {
  g_object_class_install_property(
      k, PROP_PROMPT,
      g_param_spec_string(
          "prompt", "Prompt",
          "What to show. While PLAYING a new prompt holds from the next chunk on; element messages "
          "`flowcache-prompt` say when it was received and where it was applied",
          kDefaultPrompt, kPlaying));
  g_object_class_install_property(
      k, PROP_BLEND_CHUNKS,
      g_param_spec_uint(
          "blend-chunks", "Blend chunks",
          "Chunks over which a new value of `prompt` is blended in; 0 = a cut, which also asks the "
          "encoder for a keyframe",
          0, 64, 0, kPlaying));
  g_object_class_install_property(
      k, PROP_SCRIPT_LOCATION,
      g_param_spec_string(
          "script-location", "Script",
          "Subtitle file (SRT or WebVTT) whose cues are prompts: each holds from the first chunk on that "
          "begins at or after its start, in the video's own time, until the next; `prompt` is what is shown "
          "before the first",
          nullptr, kReady));
  g_object_class_install_property(
      k, PROP_END_WITH_SCRIPT,
      g_param_spec_boolean(
          "end-with-script", "End with the script",
          "End the stream where the last cue of `script-location` ends; FALSE: its prompt holds on", FALSE,
          kReady));
  g_object_class_install_property(
      k, PROP_KEY_PROMPTS,
      g_param_spec_string("key-prompts", "Prompts on keys",
                          "Prompts for keys that are pressed in the window that shows the stream: "
                          "\"1=orange fire; 2=blue snow; space=golden ocean\"; `blend-chunks` holds",
                          nullptr, kReady));
  g_object_class_install_property(
      k, PROP_PREFIX_LOCATION,
      g_param_spec_string("prefix-location", "Prefix",
                          "Image or video file that the stream goes on from, scaled to the model's size, its "
                          "frames one for one; "
                          "needs a model whose VAE has its encoder (the model that ships has none)",
                          nullptr, kReady));
  g_object_class_install_property(
      k, PROP_NEGATIVE_PROMPT,
      g_param_spec_string("negative-prompt", "Negative prompt",
                          "What to steer away from, from the next chunk on; only for streams that were begun "
                          "with a guidance-scale other than 1",
                          nullptr, kPlaying));
  g_object_class_install_property(
      k, PROP_GUIDANCE_SCALE,
      g_param_spec_double(
          "guidance-scale", "Guidance scale",
          "Strength of classifier-free guidance; 1 = off, at half the cost; it cannot be switched on "
          "while PLAYING (-1 or 0 = the model's default)",
          kModelDefault, 50.0, kModelDefault, kControllable));
}

void install_cache_properties(GObjectClass* k) {
  g_object_class_install_property(
      k, PROP_CACHE,
      g_param_spec_string(
          "cache", "Reuse policy",
          "Which steps reuse earlier results: a policy's name with options, \"name:option=value,…\"; "
          "\"none\" computes all (`flowcache policies` lists them). Unset, a live stream is governed, as "
          "with auto: "
          "it computes as many steps as there is time for, from the first chunk on, unless `cache-threshold` "
          "is set "
          "or the model's sampler leaves no step out; a stream that is not live has the model's default",
          nullptr, kReady));
  g_object_class_install_property(
      k, PROP_CACHE_THRESHOLD,
      g_param_spec_double(
          "cache-threshold", "Reuse threshold",
          "How much a step may differ and still be reused: higher is faster and less exact, 0 never "
          "reuses (-1 = the policy's or model's default)",
          kModelDefault, 10.0, kModelDefault, kControllable));
  g_object_class_install_property(
      k, PROP_KV_CACHE,
      g_param_spec_string(
          "kv-cache", "KV policy",
          "What stays in the history of keys and values: a policy's name with options, as `cache` "
          "(unset: the model's default)",
          nullptr, kReady));
  g_object_class_install_property(
      k, PROP_KV_BUDGET,
      g_param_spec_uint64(
          "kv-budget", "KV budget",
          "The most bytes the keys and values of finished chunks may hold; allocated once (0 = the "
          "model's default)",
          0, G_MAXUINT64, 0, kReady));
}

void install_stream_properties(GObjectClass* k) {
  g_object_class_install_property(
      k, PROP_IS_LIVE,
      g_param_spec_boolean(
          "is-live", "Live",
          "Push frames at their time on the pipeline's clock; FALSE: as fast as they come, as a "
          "file source does",
          TRUE, kReady));
  g_object_class_install_property(
      k, PROP_TIMESTAMP_OFFSET,
      g_param_spec_int64("timestamp-offset", "Timestamp offset",
                         "Nanoseconds added to every timestamp; when frames leave does not change: against "
                         "other sources that come "
                         "early or late. With a negative one the first frame waits until its timestamp is 0",
                         G_MININT64, G_MAXINT64, 0, kReady));
  g_object_class_install_property(
      k, PROP_LATENCY,
      g_param_spec_uint64(
          "latency", "Jitter budget",
          "Nanoseconds that a frame may come late before `underrun` acts; part of the reported latency "
          "(18446744073709551615 = from measured chunk times)",
          0, G_MAXUINT64, GST_CLOCK_TIME_NONE, kPlaying));
  g_object_class_install_property(
      k, PROP_UNDERRUN,
      g_param_spec_enum(
          "underrun", "Underrun policy",
          "What to do when no frame is ready in time; counted in `stats`, and told by a QOS message, "
          "one for frames repeated in a row",
          underrun_type(), static_cast<int>(Underrun::Repeat), kPlaying));
  g_object_class_install_property(
      k, PROP_PLACEHOLDER,
      g_param_spec_boolean("placeholder", "Placeholder",
                           "Live and while the model loads: push black frames, flagged GAP, so that encoders "
                           "and muxers behind begin at "
                           "once and sound beside the video goes on; FALSE: GAP events",
                           FALSE, kReady));
  g_object_class_install_property(
      k, PROP_MAX_LATENESS,
      g_param_spec_int64("max-lateness", "Maximum lateness",
                         "Nanoseconds that a frame may be later than the reported latency allows; when "
                         "frames are held up for longer, "
                         "by a sink that blocks, the stream goes on at the present time: slots are left out, "
                         "with `underrun=stall` "
                         "timestamps move (-1 = no limit: every slot gets its frame, however late)",
                         -1, G_MAXINT64, 0, kPlaying));
  g_object_class_install_property(
      k, PROP_QOS,
      g_param_spec_boolean("qos", "QoS",
                           "In a governed stream (see `cache`), let chunks take less time, at less quality, "
                           "while the sink says "
                           "that frames come late, and more again when they do not",
                           FALSE, kPlaying));
  g_object_class_install_property(
      k, PROP_MAX_CHUNKS_AHEAD,
      g_param_spec_uint(
          "max-chunks-ahead", "Chunks ahead",
          "Finished chunks that may wait; more smooths uneven chunk times, fewer makes prompts show "
          "sooner",
          1, 64, kDefaultChunksAhead, kReady));
  g_object_class_install_property(
      k, PROP_STATS,
      g_param_spec_boxed(
          "stats", "Statistics",
          "fps at the pad, chunk times (ms: p50, p95, p99), frames, repeats, skips, drops, underruns, steps "
          "computed and reused, KV bytes and budget, ring level, memory path, GPU memory, engine",
          GST_TYPE_STRUCTURE, static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS)));
  g_object_class_install_property(
      k, PROP_STATS_INTERVAL,
      g_param_spec_uint64("stats-interval", "Statistics interval",
                          "Nanoseconds of running time between element messages `flowcache-stats` (0 = none)",
                          0, G_MAXUINT64, 0, kPlaying));
  g_object_class_install_property(
      k, PROP_REPORT_CHUNKS,
      g_param_spec_boolean(
          "report-chunks", "Report chunks",
          "Post an element message `flowcache-chunk` for every chunk: what was computed, what reused, "
          "and how long it took",
          FALSE, kPlaying));
  g_object_class_install_property(
      k, PROP_SEI,
      g_param_spec_boolean(
          "sei", "SEI",
          "Add what FlowCacheMeta says as unregistered user data; put flowcachesei behind an "
          "encoder that does not write it into the bitstream (x264enc does not)",
          FALSE, kPlaying));
}

}  // namespace

void install_properties(GObjectClass* object_class) {
  for (const GType type : {underrun_type(), clean_context_type()})
    gst_type_mark_as_plugin_api(type, static_cast<GstPluginAPIFlags>(0));
  install_model_properties(object_class);
  install_prompt_properties(object_class);
  install_cache_properties(object_class);
  install_stream_properties(object_class);
  g_object_class_override_property(object_class, PROP_DO_TIMESTAMP, "do-timestamp");
}

}  // namespace flowcache::gst
