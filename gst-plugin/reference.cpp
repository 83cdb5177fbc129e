// SPDX-License-Identifier: LGPL-2.1-or-later
// Prints REFERENCE.md from what the element says about itself. A test compares both, so that the page stays
// up to date. Renew it with `meson devenv -C build build/gst-plugin/flowcachesrc-reference >
// gst-plugin/REFERENCE.md`.
#include <gst/gst.h>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace {

std::string when(GParamFlags flags) {
  if ((flags & G_PARAM_WRITABLE) == 0) return "read only";
  std::string text = (flags & GST_PARAM_MUTABLE_PLAYING) != 0 ? "any time" : "NULL, READY";
  if ((flags & GST_PARAM_CONTROLLABLE) != 0) text += ", controllable";
  return text;
}

template <typename Spec>
std::string range(const Spec* spec) {
  return std::to_string(spec->minimum) + " … " + std::to_string(spec->maximum);
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

std::string type_of(GParamSpec* spec) {
  if (G_IS_PARAM_SPEC_UINT(spec)) return "uint, " + range(G_PARAM_SPEC_UINT(spec));
  if (G_IS_PARAM_SPEC_UINT64(spec)) return "uint64";
  if (G_IS_PARAM_SPEC_INT64(spec)) return "int64";
  if (G_IS_PARAM_SPEC_DOUBLE(spec)) {
    return "double, " + number(G_PARAM_SPEC_DOUBLE(spec)->minimum) + " … " +
           number(G_PARAM_SPEC_DOUBLE(spec)->maximum);
  }
  if (G_IS_PARAM_SPEC_BOOLEAN(spec)) return "boolean";
  if (G_IS_PARAM_SPEC_STRING(spec)) return "string";
  if (!G_IS_PARAM_SPEC_ENUM(spec)) return g_type_name(spec->value_type);
  std::string names;
  const GEnumClass* values = G_PARAM_SPEC_ENUM(spec)->enum_class;
  for (guint i = 0; i < values->n_values; ++i)
    names += (i == 0 ? "" : " \\| ") + std::string(values->values[i].value_nick);
  return names;
}

std::string default_of(GParamSpec* spec) {
  if (G_IS_PARAM_SPEC_BOXED(spec)) return "";
  if (G_IS_PARAM_SPEC_ENUM(spec)) {
    return g_enum_get_value(G_PARAM_SPEC_ENUM(spec)->enum_class, G_PARAM_SPEC_ENUM(spec)->default_value)
        ->value_nick;
  }
  g_autofree char* text = g_strdup_value_contents(g_param_spec_get_default_value(spec));
  return std::string(text) == "NULL" ? "unset" : text;
}

void print_properties(GstElement* element) {
  std::printf(
      "## Properties\n\n| name | type | default | may change | meaning |\n| --- | --- | --- | --- | --- |\n");
  guint count = 0;
  GParamSpec** specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(element), &count);
  for (guint i = 0; i < count; ++i) {
    if (specs[i]->owner_type != G_OBJECT_TYPE(element)) continue;
    std::printf("| `%s` | %s | %s | %s | %s |\n", specs[i]->name, type_of(specs[i]).c_str(),
                default_of(specs[i]).c_str(), when(specs[i]->flags).c_str(),
                g_param_spec_get_blurb(specs[i]));
  }
  g_free(specs);
}

void print_signals(GstElement* element) {
  std::printf("\n## Action signals\n\n");
  guint count = 0;
  guint* ids = g_signal_list_ids(G_OBJECT_TYPE(element), &count);
  for (guint i = 0; i < count; ++i) {
    GSignalQuery query;
    g_signal_query(ids[i], &query);
    std::string parameters;
    for (guint p = 0; p < query.n_params; ++p)
      parameters += (p == 0 ? "" : ", ") + std::string(g_type_name(query.param_types[p]));
    std::printf("* `%s` (%s) → %s\n", query.signal_name, parameters.c_str(), g_type_name(query.return_type));
  }
  g_free(ids);
  std::printf(
      "\n`set-prompt` takes the text, the chunks to blend over (0: a cut; 4294967295: as "
      "`prompt-transition=recache`) and\n"
      "the running time from which on the prompt shall hold (18446744073709551615: as soon as possible); "
      "false means\n"
      "that the old prompt stays. One for a later time is received when its time comes within reach.\n"
      "`reset` takes a seed and starts over at chunk 0; "
      "prompts that\n"
      "have not shown yet stay asked for. `request-stats` posts `flowcache-stats` at once.\n");
}

// What each field of the statistics means. A missing field is an error.
const std::map<std::string, const char*>& meanings() {
  static const std::map<std::string, const char*> texts = {
      {"fps", "frames a second that left the pad lately, repeated ones included"},
      {"native-fps", "the model's own rate"},
      {"frames", "frames that left the pad"},
      {"repeated", "of those, shown once more because none was ready (`underrun=repeat`)"},
      {"skipped",
       "slots of the grid left out: none was ready (`underrun=skip`), or frames were held up "
       "(`max-lateness`)"},
      {"dropped", "finished frames that a `reset` threw away"},
      {"underruns", "times that no frame was ready when its time came"},
      {"chunks", "chunks finished by the engine"},
      {"chunk-ms-p50", "milliseconds the engine took for a chunk, of the latest ones: median"},
      {"chunk-ms-p95", "the same, 95th percentile"},
      {"chunk-ms-p99", "the same, 99th percentile"},
      {"steps-computed", "denoising steps that ran the network"},
      {"steps-reused", "denoising steps that reused what was computed before"},
      {"reuse-ratio", "reused steps of all steps, 0 … 1"},
      {"cache-threshold", "the ε in force"},
      {"guidance-scale", "the guidance in force"},
      {"governed",
       "a deadline decides how much is computed (`cache`), so that the video cannot be repeated bit by bit"},
      {"governor-level",
       "computed steps a chunk that the deadline costs now; 0: full quality, or not governed"},
      {"steps-allowed", "computed steps of the chunks that begin now; 0: their number is not governed"},
      {"deadline-ms", "milliseconds that a chunk may take; 0: not governed"},
      {"least-chunk-ms",
       "milliseconds expected of a chunk at the least quality; 0: not governed, or not known yet"},
      {"kv-bytes", "bytes of keys and values of finished chunks now"},
      {"kv-budget", "the most they may hold"},
      {"kv-allocated", "bytes of all that is allocated for them: budget, chunks in flight, scratch"},
      {"reuse-bytes", "bytes of residuals and features that the reuse policy keeps"},
      {"ring-level", "finished frames that wait for their time"},
      {"ring-capacity", "how many may wait"},
      {"latency",
       "nanoseconds that a frame may be late before it is an underrun; LATENCY says this and one frame"},
      {"memory-path", "how frames get into buffers, see Memory"},
      {"context-copies", "frames copied on the device because downstream uses another CUDA context"},
      {"gpu-memory-used", "bytes in use on the device, by everybody; 0 without one"},
      {"gpu-memory-total", "bytes that the device has; 0 without one"},
      {"devices",
       "how many the network runs on; fewer than at first: some were lost; 0 until a chunk is made"},
      {"device", "where the model runs; empty until it is loaded"},
      {"precision", "what it computes in; empty until it is loaded"},
  };
  return texts;
}

gboolean print_field(GQuark field, const GValue* value, gpointer complete) {
  const auto found = meanings().find(g_quark_to_string(field));
  if (found == meanings().end()) {
    std::fprintf(stderr, "reference.cpp does not say what the field %s means\n", g_quark_to_string(field));
    return *static_cast<gboolean*>(complete) = FALSE;
  }
  std::printf("| `%s` | %s | %s |\n", found->first.c_str(), G_VALUE_TYPE_NAME(value), found->second);
  return TRUE;
}

// Returns false if a field has no entry in meanings().
bool print_statistics(GstElement* element) {
  std::printf(
      "\n## Fields of `stats` and of the message `flowcache-stats`\n\n"
      "| field | type | meaning |\n| --- | --- | --- |\n");
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  gboolean complete = TRUE;
  gst_structure_foreach(stats, print_field, &complete);
  gst_structure_free(stats);
  return complete != FALSE;
}

constexpr const char* kRest = R"(
## Memory

NV12, RGBA and I420 in system memory; the same in CUDA memory (`memory:CUDAMemory`) where an NVIDIA driver answers, and RGBA in
OpenGL textures (`memory:GLMemory`) where there is OpenGL, each if downstream asks for it by name. Of several that it names CUDA
memory comes first, then textures. Where anything goes, system memory is chosen. `memory-path` in `stats` says what happens:

| `memory-path` | frames are written |
| --- | --- |
| `system` | into system memory |
| `gl-upload` | into a texture's upload buffer |
| `cuda-gl` | by a model on the device, straight into a texture's upload buffer |
| `cuda` | by a model on the device, straight into CUDA memory |
| `cuda-copy` | as `cuda`, and copied once on the device, as downstream uses another CUDA context: a WARNING, and counted in `context-copies` |
| `cuda-upload` | by a model on the CPU, and uploaded |

The element publishes the device's primary CUDA context when it goes to READY (not with `device=cpu`).

## Element messages

| name | when | fields |
| --- | --- | --- |
| `flowcache-prompt` | a prompt was taken up, shows for the first time, or was overtaken by a later one (before the model had it: `ticket` 0) | `state` (received, applied, replaced), `ticket`, `prompt`, `unknown-words`; if applied also `chunk`, `pts`, and after a re-cache `recached-chunks` (how many ran once more) and `recache-ms` |
| `flowcache-lora` | a list of LoRAs was read, shows for the first time, was overtaken by a later one (before it was read: `ticket` 0), or was refused: the stream then goes on as it was | `state` (received, applied, replaced, refused), `ticket`, `lora`, `seconds` (that reading and merging took); if applied also `chunk`, `pts`; if refused `reason` |
| `flowcache-chunk` | first frame of a chunk, with `report-chunks=true` | `chunk`, `pts`, `milliseconds`, `steps-computed`, `steps-reused`, `decisions` (a letter per step: C computed, R reused), `cache-threshold`, `kv-bytes`, `kv-budget`, `prompt-ticket`, `seed` |
| `flowcache-stats` | every `stats-interval`, and on `request-stats` | as above |

Loading posts PROGRESS of code `load`. Underruns post QOS, frames repeated in a row one for all of them. A refused change,
words that have no effect, and a machine that is too slow for a live stream at any quality post WARNING. Errors name the value, the limit and the remedy.

## Time

A live stream's timestamps are running times on the model's grid of frames; its own time begins with the first frame. Until
then GAP events, or with `placeholder=true` black frames, tell downstream that nothing comes yet. LATENCY says a frame and the
jitter budget; what would be later than that goes on at the present time (`max-lateness`). A stream that is not live runs from 0
as fast as it is taken and can be sought (flush, segment, stop; forwards): what is ahead is made and not shown, what is behind is
made again from the start, so the same frame comes at a time however one gets there. With num-buffers or `end-with-script` it has
a duration.

## Pad `prompt`

A request pad that takes `text/x-raw`, plain or with Pango markup: each buffer is a prompt from its own running time on, blended
as `blend-chunks` and `prompt-transition` say. It holds until the next one, over gaps and the text's end, and leaves the property
`prompt` as it is; an empty buffer brings that one back. A flush of the text forgets what has not come yet.

```
printf '1\n00:00:00,000 --> 00:00:02,000\norange fire\n\n2\n00:00:02,000 --> 00:00:04,000\nblue snow\n\n' |
  gst-launch-1.0 fdsrc ! subparse ! s.prompt flowcachesrc name=s ! videoconvert ! autovideosink
```

Every source of text that GStreamer has will do: `subparse` for files, `matroskademux` and `qtdemux` for subtitle tracks, `appsrc`.

## URI

`flowcache:?NAME=VALUE&…`: properties of this element, and num-buffers, percent-encoded. The element answers with those that are
not at their default, and the stream's id depends on it.

## Size and rate

The source pad gives every size that the model draws (`flowcache inspect` lists them) and the model's frame rate, or a whole
multiple of it up to 120 frames a second: each frame then goes out as often, and `num-buffers` counts buffers. For other rates
put `videorate` behind the element.

## On buffers

* `FlowCacheMeta` (a custom meta): `chunk`, `frame`, `frames`, `steps-computed`, `steps-reused`, `cache-threshold`, `kv-bytes`,
  `kv-budget`, `prompt-ticket`, `seed`.
* `GstReferenceTimestampMeta` of caps `timestamp/x-flowcache-intent`: the running time at which the chunk was begun; live, also
  of caps `timestamp/x-unix`: nanoseconds since 1970 at which the frame is due.
* With `sei=true` a GstVideoSEIUserDataUnregisteredMeta of UUID 5f3a9c1e-86d2-4b07-9c4f-f10ccac8e5e1: the fields of
  `FlowCacheMeta` as JSON. `x264enc ! flowcachesei ! h264parse` carries it into the bitstream as an SEI message;
  `x265enc ! flowcachesei ! h265parse` likewise; `av1enc ! flowcachesei` as a metadata OBU of type 6. GStreamer's own inserters
  take the same meta, from 1.30 on: `h265seiinserter`, `h266seiinserter`.

## Upstream events

`GST_EVENT_CUSTOM_UPSTREAM` with a structure `flowcache/prompt` (`prompt`: string, `blend-chunks`: uint, `transition`: string, `blend`
or `recache`, `at`: uint64) or `flowcache/reset` (`seed`: uint64). Navigation events of a key that is pressed and has a prompt in
`key-prompts`.
)";

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  GstElement* element = gst_element_factory_make("flowcachesrc", nullptr);
  if (element == nullptr) {
    std::fprintf(stderr, "no element flowcachesrc: is GST_PLUGIN_PATH set? (meson devenv -C build)\n");
    return 1;
  }
  std::printf("# flowcachesrc\n\nGenerated from the element by `flowcachesrc-reference`; do not edit.\n\n");
  print_properties(element);
  print_signals(element);
  const bool complete = print_statistics(element);
  std::fputs(kRest, stdout);
  gst_object_unref(element);
  return complete ? 0 : 1;
}
