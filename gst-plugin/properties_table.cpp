// SPDX-License-Identifier: LGPL-2.1-or-later
#include <glib/gstdio.h>

#include <cerrno>
#include <type_traits>

#include "properties.h"

namespace flowcache::gst {
namespace {

constexpr auto kReadWrite = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
constexpr auto kReadOnly = static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
constexpr auto kReady = static_cast<GParamFlags>(kReadWrite | GST_PARAM_MUTABLE_READY);
constexpr auto kPlaying = static_cast<GParamFlags>(kReadWrite | GST_PARAM_MUTABLE_PLAYING);
constexpr auto kControllable = static_cast<GParamFlags>(kPlaying | GST_PARAM_CONTROLLABLE);

// ---- how an entry is made

template <typename Pointer>
struct MemberOf;
template <typename V, typename O>
struct MemberOf<V O::*> {
  using Value = V;
  using Owner = O;
};
template <auto member>
using ValueOf = typename MemberOf<decltype(member)>::Value;
template <auto member>
using OwnerOf = typename MemberOf<decltype(member)>::Owner;

// The default of the property. Never destroyed, because properties may be read while the process ends.
template <auto member>
const ValueOf<member>& default_of() {
  static const Settings& untouched = *new Settings;
  return untouched.*member;
}

template <auto member>
void read(const Settings& settings, GValue* value) {
  using T = ValueOf<member>;
  const T& now = settings.*member;
  if constexpr (std::is_same_v<T, std::string>) {
    const bool unset = now.empty() && default_of<member>().empty();
    g_value_set_string(value, unset ? nullptr : now.c_str());
  } else if constexpr (std::is_same_v<T, bool>) {
    g_value_set_boolean(value, now);
  } else if constexpr (std::is_same_v<T, guint>) {
    g_value_set_uint(value, now);
  } else if constexpr (std::is_same_v<T, guint64>) {
    g_value_set_uint64(value, now);
  } else if constexpr (std::is_same_v<T, gint64>) {
    g_value_set_int64(value, now);
  } else if constexpr (std::is_same_v<T, double>) {
    g_value_set_double(value, now);
  } else {
    g_value_set_enum(value, static_cast<int>(now));
  }
}

// Writes a text. One that is unset or empty means the default.
template <auto member>
void write(Settings& settings, const GValue* value) {
  using T = ValueOf<member>;
  T& now = settings.*member;
  if constexpr (std::is_same_v<T, std::string>) {
    const char* text = g_value_get_string(value);
    now = text == nullptr || *text == '\0' ? default_of<member>() : text;
  } else if constexpr (std::is_same_v<T, bool>) {
    now = g_value_get_boolean(value) != FALSE;
  } else if constexpr (std::is_same_v<T, guint>) {
    now = g_value_get_uint(value);
  } else if constexpr (std::is_same_v<T, guint64>) {
    now = g_value_get_uint64(value);
  } else if constexpr (std::is_same_v<T, gint64>) {
    now = g_value_get_int64(value);
  } else if constexpr (std::is_same_v<T, double>) {
    now = g_value_get_double(value);
  } else {
    now = static_cast<T>(g_value_get_enum(value));
  }
}

// Converts a threshold: the property's -1 becomes the engine's 0 (the default), the property's 0 becomes
// FC_NEVER.
double engine_threshold(double value) {
  if (value < 0) return 0;
  return value == 0 ? FC_NEVER : value;
}
double engine_guidance(double value) {
  return value < 0 ? 0 : value;
}

// Writes a field of the engine's configuration: an empty text as NULL, an enum as its number, a number
// unchanged unless `convert` is given.
template <auto member, auto field, auto convert>
void hand_over(const OwnerOf<member>& settings, OwnerOf<field>* config) {
  using T = ValueOf<member>;
  const T& now = settings.*member;
  if constexpr (!std::is_null_pointer_v<decltype(convert)>) {
    config->*field = convert(now);
  } else if constexpr (std::is_same_v<T, std::string>) {
    config->*field = now.empty() ? nullptr : now.c_str();
  } else if constexpr (std::is_enum_v<T>) {
    config->*field = static_cast<uint32_t>(now);
  } else {
    config->*field = now;
  }
}

// An entry without its texts. member: the value. field: the field of fc_engine_config or fc_stream_config
// that the engine reads when it, or a stream, is opened; none for other properties.
template <auto member, auto field, auto convert>
constexpr Property entry(GParamSpec* (*spec)(const Property&), decltype(Property::range) range = {}) {
  Property made{.range = range};
  made.spec = spec;
  made.read = read<member>;
  made.write = write<member>;
  if constexpr (!std::is_null_pointer_v<decltype(field)>) {
    if constexpr (std::is_same_v<OwnerOf<field>, fc_engine_config>) {
      made.to_engine = hand_over<member, field, convert>;
    } else {
      made.to_stream = hand_over<member, field, convert>;
    }
  }
  return made;
}

template <auto member, auto field = nullptr>
constexpr Property text() {
  return entry<member, field, nullptr>([](const Property& p) {
    const std::string& usual = default_of<member>();
    return g_param_spec_string(p.name, p.nick, p.blurb, usual.empty() ? nullptr : usual.c_str(), p.flags);
  });
}

template <auto member, auto field = nullptr>
constexpr Property flag() {
  return entry<member, field, nullptr>([](const Property& p) {
    return g_param_spec_boolean(p.name, p.nick, p.blurb, default_of<member>(), p.flags);
  });
}

template <auto member, auto field = nullptr, auto convert = nullptr>
constexpr Property number(ValueOf<member> least, ValueOf<member> most) {
  using T = ValueOf<member>;
  const auto spec = [](const Property& p) {
    const T usual = default_of<member>();
    const auto [low, high] = std::get<Range<T>>(p.range);
    if constexpr (std::is_same_v<T, guint>) {
      return g_param_spec_uint(p.name, p.nick, p.blurb, low, high, usual, p.flags);
    } else if constexpr (std::is_same_v<T, guint64>) {
      return g_param_spec_uint64(p.name, p.nick, p.blurb, low, high, usual, p.flags);
    } else if constexpr (std::is_same_v<T, gint64>) {
      return g_param_spec_int64(p.name, p.nick, p.blurb, low, high, usual, p.flags);
    } else {
      return g_param_spec_double(p.name, p.nick, p.blurb, low, high, usual, p.flags);
    }
  };
  return entry<member, field, convert>(spec, Range<T>{least, most});
}

template <auto member, auto type, auto field = nullptr>
constexpr Property choice() {
  return entry<member, field, nullptr>([](const Property& p) {
    return g_param_spec_enum(p.name, p.nick, p.blurb, type(), static_cast<int>(default_of<member>()),
                             p.flags);
  });
}

// An entry that is read only; get_property() makes its value.
constexpr Property structure() {
  Property made{};
  made.spec = [](const Property& p) {
    return g_param_spec_boxed(p.name, p.nick, p.blurb, GST_TYPE_STRUCTURE, p.flags);
  };
  return made;
}

constexpr Property described(const char* name, const char* nick, GParamFlags flags, Property made,
                             const char* blurb, Handling handling = Handling::Store) {
  made.name = name;
  made.nick = nick;
  made.blurb = blurb;
  made.flags = flags;
  made.handling = handling;
  return made;
}

// An entry that only one of the elements has.
constexpr Property only(Elements elements, Property made) {
  made.elements = elements;
  return made;
}

GType late_type() {
  static const GEnumValue values[] = {
      {static_cast<int>(LatePolicy::Drop), "Leave out a chunk of frames, if the input is live; else wait",
       "drop"},
      {static_cast<int>(LatePolicy::Stall), "Let the input wait", "stall"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstFlowCacheLate", values);
  return type;
}

GType underrun_type() {
  static const GEnumValue values[] = {
      {static_cast<int>(Underrun::Repeat), "Push the last frame again, flagged GAP: a steady rate", "repeat"},
      {static_cast<int>(Underrun::Skip), "Leave slots empty; the next frame is flagged DISCONT", "skip"},
      {static_cast<int>(Underrun::Stall), "Wait, and move all later timestamps by the delay", "stall"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstFlowCacheUnderrun", values);
  return type;
}

GType transition_type() {
  static const GEnumValue values[] = {
      {static_cast<int>(Transition::Blend), "Over `blend-chunks`", "blend"},
      {static_cast<int>(Transition::Recache),
       "At once, in the same scene: the history runs once more under it", "recache"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstFlowCacheTransition", values);
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

// ---- the table

constexpr Property kProperties[] = {
    described("model", "Model", kReady, text<&EngineSettings::model, &fc_engine_config::model>(),
              "Folder with the model's model.json; unset: the model that ships", Handling::Model),
    described("prompt", "Prompt", kPlaying, text<&StreamSettings::prompt, &fc_stream_config::prompt>(),
              "What to show. While PLAYING a new prompt holds from the next chunk on; element messages "
              "`flowcache-prompt` say when it was received and where it was applied",
              Handling::Prompt),
    described("negative-prompt", "Negative prompt", kPlaying,
              text<&StreamSettings::negative_prompt, &fc_stream_config::negative_prompt>(),
              "What to steer away from, from the next chunk on; only for streams that were begun with a "
              "guidance-scale other than 1",
              Handling::NegativePrompt),
    described(
        "lora", "LoRAs", kPlaying, text<&StreamSettings::lora>(),
        "Files of LoRAs and their scales, \"FILE:SCALE,FILE:SCALE\" (a scale of 1 may be left out; a comma "
        "in a name has a backslash in front of it), beside those that the model has; unset: none. While "
        "PLAYING they are read and merged beside the stream and hold from the next chunk on, in the same "
        "scene; element messages `flowcache-lora` say when, and what it took, or why a list was refused",
        Handling::Lora),
    described("script-location", "Script", kReady, text<&Settings::script_location>(),
              "Subtitle file (SRT or WebVTT) whose cues are prompts: each holds from the first chunk on that "
              "begins at or after its start, in the video's own time, until the next; `prompt` is what is "
              "shown before the first. Of a filter the time is the input's, also after a seek"),
    only(
        Elements::Source,
        described("end-with-script", "End with the script", kReady, flag<&Settings::end_with_script>(),
                  "End the stream where the last cue of `script-location` ends; FALSE: its prompt holds on")),
    described("key-prompts", "Prompts on keys", kReady, text<&Settings::key_prompts>(),
              "Prompts for keys that are pressed in the window that shows the stream: "
              "\"1=orange fire; 2=blue snow; space=golden ocean\"; `blend-chunks` holds"),
    only(
        Elements::Source,
        described("prefix-location", "Prefix", kReady, text<&Settings::prefix_location>(),
                  "Image or video file that the stream goes on from, of any size: scaled to cover the video, "
                  "its middle taken; its frames one for one; needs a model whose VAE has its encoder")),
    described("seed", "Seed", kReady, number<&StreamSettings::seed, &fc_stream_config::seed>(0, G_MAXUINT64),
              "Same seed, prompt, model and options: the same video, bit by bit, unless it is governed (see "
              "`cache`)"),
    described(
        "cache", "Reuse policy", kReady, text<&StreamSettings::cache, &fc_stream_config::cache>(),
        "Which steps reuse earlier results: a policy's name with options, \"name:option=value,…\"; \"none\" "
        "computes all (`flowcache policies` lists them). Unset, a live stream is governed, as with auto: it "
        "computes as many steps as there is time for, from the first chunk on, unless `cache-threshold` is "
        "set "
        "or the model's sampler leaves no step out; a stream that is not live has the model's default"),
    described("cache-threshold", "Reuse threshold", kControllable,
              number<&StreamSettings::cache_threshold, &fc_stream_config::cache_threshold, engine_threshold>(
                  kModelDefault, 10),
              "How much a step may differ and still be reused: higher is faster and less exact, 0 never "
              "reuses (-1 = "
              "the policy's or model's default)",
              Handling::Tune),
    described(
        "kv-cache", "KV policy", kReady, text<&StreamSettings::kv_cache, &fc_stream_config::kv_cache>(),
        "What stays in the history of keys and values: a policy's name with options, as `cache` (unset: the "
        "model's default)"),
    described(
        "kv-budget", "KV budget", kReady,
        number<&StreamSettings::kv_budget, &fc_stream_config::kv_budget>(0, G_MAXUINT64),
        "The most bytes the keys and values of finished chunks may hold; allocated once (0 = the model's "
        "default)"),
    described("steps", "Steps", kReady, number<&StreamSettings::steps, &fc_stream_config::steps>(0, 1000),
              "Denoising steps per chunk (0 = the model's default)"),
    described(
        "lag", "Lag", kReady, number<&StreamSettings::lag, &fc_stream_config::lag>(0, 1000),
        "Steps between the start of a chunk and the next; steps/lag chunks are in flight (0 = the model's "
        "default)"),
    described(
        "clean-context", "Clean context", kReady,
        choice<&StreamSettings::clean_context, clean_context_type, &fc_stream_config::clean_context>(),
        "What later chunks see of a finished one: the keys and values of its last step, which is then always "
        "computed, or of one more pass of the network over the finished chunk"),
    described(
        "guidance-scale", "Guidance scale", kControllable,
        number<&StreamSettings::guidance_scale, &fc_stream_config::guidance_scale, engine_guidance>(
            kModelDefault, 50),
        "Strength of classifier-free guidance; 1 = off, at half the cost; it cannot be switched on while "
        "PLAYING (-1 or 0 = the model's default)",
        Handling::Tune),
    described("device", "Device", kReady, text<&EngineSettings::device, &fc_engine_config::device>(),
              "Where the model runs: auto, cpu, cuda or cuda:N; cuda without a driver is an error"),
    described(
        "devices", "Devices", kReady, text<&EngineSettings::devices, &fc_engine_config::devices>(),
        "Devices that share each chunk, instead of `device`: cuda:0,cuda:1 or cpu,cpu. The first is this "
        "process's; for each other one a process is started, or, for join, a worker of another machine "
        "is waited for at `listen` (pipelines/SCALE.md)"),
    described(
        "attention-split", "Attention split", kReady,
        text<&EngineSettings::attention_split, &fc_engine_config::attention_split>(),
        "How `devices` share self-attention: heads, where each keeps the keys and values of some heads, "
        "or rows, where each keeps all; unset, heads if they divide"),
    described(
        "rank-timeout", "Rank timeout", kReady,
        number<&EngineSettings::rank_timeout, &fc_engine_config::rank_timeout>(0, 3600000),
        "Milliseconds that `devices` wait for each other before one of them counts as lost (0 = 30000)"),
    described("on-lost-rank", "On lost rank", kReady,
              text<&EngineSettings::on_lost_rank, &fc_engine_config::on_lost_rank>(),
              "When one of `devices` is lost: go_on, with those that are left and the history made anew "
              "there, or end, with an error; unset, go_on"),
    described(
        "listen", "Listen", kReady, text<&EngineSettings::listen, &fc_engine_config::listen>(),
        "HOST:PORT at which workers of other machines may join that have the token of FLOWCACHE_TOKEN or "
        "FLOWCACHE_TOKEN_FILE; unset, none may"),
    described(
        "decoder-device", "Decoder device", kReady,
        text<&EngineSettings::decoder_device, &fc_engine_config::decoder_device>(),
        "Where chunks are decoded while the network computes the next one: cuda:1, cpu; unset, where the "
        "network runs, or one of `devices` that is to spare"),
    described("precision", "Precision", kReady,
              text<&EngineSettings::precision, &fc_engine_config::precision>(),
              "What the model computes in: auto, fp32, bf16, or fp8 or int8, which keep the transformer's "
              "matrices in 8 bits "
              "at half the memory; auto is bf16 where the device has instructions for it. `stats` says which "
              "it is"),
    described(
        "kv-precision", "KV precision", kReady,
        text<&EngineSettings::kv_precision, &fc_engine_config::kv_precision>(),
        "How keys and values of finished chunks are kept: auto, full, or int8, which takes half the memory "
        "of bf16 and a quarter of fp32, so that `kv-budget` holds more of them; auto is full"),
    described("threads", "Threads", kReady,
              number<&EngineSettings::threads, &fc_engine_config::threads>(0, 1024),
              "CPU threads of the model's arithmetic (0 = all that the process may use)"),
    described(
        "memory-limit", "Memory limit", kReady,
        number<&EngineSettings::memory_limit, &fc_engine_config::memory_limit>(0, G_MAXUINT64),
        "Bytes of the device that the model and its streams are planned for; what does not fit is an error "
        "before anything is allocated (0 = what is free)"),
    described("slice-tokens", "Slice of tokens", kReady,
              number<&EngineSettings::slice_tokens, &fc_engine_config::slice_tokens>(0, G_MAXUINT),
              "The most tokens of a chunk that the network's blocks work on at once: fewer take less memory "
              "and more "
              "calls (0 = all of a chunk, or what the model's network is best at)"),
    described("graphs", "CUDA graphs", kReady, flag<&StreamSettings::graphs, &fc_stream_config::graphs>(),
              "On an NVIDIA GPU: the network's blocks run as CUDA graphs in the steady state, thousands of "
              "kernels in "
              "one piece; not tried on a card yet"),
    only(
        Elements::Source,
        described("is-live", "Live", kReady, flag<&Settings::live>(),
                  "Push frames at their time on the pipeline's clock; FALSE: as fast as they come, as a file "
                  "source does",
                  Handling::Live)),
    only(Elements::Source,
         described("timestamp-offset", "Timestamp offset", kReady,
                   number<&Settings::timestamp_offset>(G_MININT64, G_MAXINT64),
                   "Nanoseconds added to every timestamp; when frames leave does not change: against other "
                   "sources that "
                   "come early or late. With a negative one the first frame waits until its timestamp is 0")),
    described("latency", "Jitter budget", kPlaying, number<&Settings::latency>(0, G_MAXUINT64),
              "Nanoseconds that a frame may come late before `underrun` acts; part of the reported latency "
              "(18446744073709551615 = from measured chunk times)"),
    only(Elements::Source,
         described("underrun", "Underrun policy", kPlaying, choice<&Settings::underrun, underrun_type>(),
                   "What to do when no frame is ready in time; counted in `stats`, and told by a QOS "
                   "message, one for "
                   "frames repeated in a row")),
    described(
        "max-chunks-ahead", "Chunks ahead", kReady, number<&Settings::chunks_ahead>(1, 64),
        "Finished chunks that may wait; more smooths uneven chunk times, fewer makes prompts show sooner"),
    described(
        "stats", "Statistics", kReadOnly, structure(),
        "fps at the pad, chunk times (ms: p50, p95, p99), frames, repeats, skips, drops, underruns, steps "
        "computed and reused, KV bytes and budget, ring level, memory path, GPU memory, engine",
        Handling::Statistics),
    described("stats-interval", "Statistics interval", kPlaying,
              number<&Settings::stats_interval>(0, G_MAXUINT64),
              "Nanoseconds of running time between element messages `flowcache-stats` (0 = none)"),
    described("blend-chunks", "Blend chunks", kPlaying, number<&Settings::blend_chunks>(0, 64),
              "Chunks over which a new value of `prompt` is blended in; 0 = a cut, which also asks the "
              "encoder for a "
              "keyframe"),
    described(
        "prompt-transition", "Prompt transition", kPlaying, choice<&Settings::transition, transition_type>(),
        "How a new value of `prompt`, and of the script and the pad `prompt`, takes over. `recache` needs a "
        "model with a clean pass and one chunk in flight, and costs a pass for each chunk of the history"),
    described(
        "report-chunks", "Report chunks", kPlaying, flag<&Settings::report_chunks>(),
        "Post an element message `flowcache-chunk` for every chunk: what was computed, what reused, and how "
        "long it took"),
    described(
        "sei", "SEI", kPlaying, flag<&Settings::sei>(),
        "Add what FlowCacheMeta says as unregistered user data; put flowcachesei behind an encoder that does "
        "not write it into the bitstream (x264enc does not)"),
    described(
        "qos", "QoS", kPlaying, flag<&Settings::qos>(),
        "In a governed stream (see `cache`), let chunks take less time, at less quality, while the sink says "
        "that frames come late, and more again when they do not",
        Handling::Qos),
    only(
        Elements::Source,
        described(
            "max-lateness", "Maximum lateness", kPlaying, number<&Settings::max_lateness>(-1, G_MAXINT64),
            "Nanoseconds that a frame may be later than the reported latency allows; when frames are held up "
            "for longer, by a sink that blocks, the stream goes on at the present time: slots are left out, "
            "with `underrun=stall` timestamps move (-1 = no limit: every slot gets its frame, however "
            "late)")),
    only(Elements::Source, described("placeholder", "Placeholder", kReady, flag<&Settings::placeholder>(),
                                     "Live and while the model loads: push black frames, flagged GAP, so "
                                     "that encoders and muxers behind "
                                     "begin at once and sound beside the video goes on; FALSE: GAP events")),
    only(Elements::Filter,
         described(
             "strength", "Strength", kControllable, number<&Settings::strength>(0, 1),
             "How much of the input is painted over, from the next chunk on: 0 shows it as the model's codec "
             "sees it, 1 ignores it. It is the share of a chunk's steps that run; element messages "
             "`flowcache-strength` say from which chunk on it holds",
             Handling::Strength)),
    only(Elements::Filter,
         described(
             "follow-motion", "Follow motion", kPlaying, flag<&Settings::follow_motion>(),
             "The faster the input moves, the less of `strength` counts, by up to 0.1 and smoothly, by the "
             "formula of StreamDiffusionV2 (arXiv 2511.07399)")),
    only(Elements::Filter,
         described("late", "Late policy", kPlaying, choice<&Settings::late, late_type>(),
                   "What to do with frames that come while the chunks before them are not done: "
                   "the filter keeps at most two chunks of them")),
};

}  // namespace

std::span<const Property> properties() {
  return kProperties;
}

fc_engine_config engine_config(const EngineSettings& settings) {
  fc_engine_config config = fc_engine_config_init();
  for (const Property& property : kProperties) {
    if (property.to_engine != nullptr) property.to_engine(settings, &config);
  }
  return config;
}

fc_stream_config stream_config(const StreamSettings& settings) {
  fc_stream_config config = fc_stream_config_init();
  for (const Property& property : kProperties) {
    if (property.to_stream != nullptr) property.to_stream(settings, &config);
  }
  return config;
}

std::string file_problem(const std::string& path, goffset most_bytes) {
  GStatBuf file{};
  if (g_stat(path.c_str(), &file) != 0) return "cannot be opened: " + std::string(g_strerror(errno)) + ".";
  if (!S_ISREG(file.st_mode)) return "is no regular file.";
  if (file.st_size <= most_bytes) return {};
  return "has " + std::to_string(file.st_size) + " bytes, the limit is " + std::to_string(most_bytes) +
         ": split it.";
}

std::optional<std::string> prompt_problem(const std::string& prompt) {
  if (prompt.size() > kMaxPromptBytes) {
    return "The prompt has " + std::to_string(prompt.size()) + " bytes, the limit is " +
           std::to_string(kMaxPromptBytes) + ": shorten it.";
  }
  const char* bad = nullptr;
  if (!g_utf8_validate(prompt.c_str(), -1, &bad)) {
    return "The prompt is not UTF-8: byte " + std::to_string(bad - prompt.c_str()) +
           " does not belong to a character. Convert it to UTF-8.";
  }
  return std::nullopt;
}

}  // namespace flowcache::gst
