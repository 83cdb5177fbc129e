// SPDX-License-Identifier: LGPL-2.1-or-later
// Prints REFERENCE.md: what the element says about itself, so that the page cannot go stale unnoticed (a test
// compares them). Renew it with `meson devenv -C build build/gst-plugin/flowcachesrc-reference >
// gst-plugin/REFERENCE.md`.
#include <gst/gst.h>

#include <cstdio>
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
      "\n`set-prompt` takes the text, the chunks to blend over (0: a cut) and the running time from which on "
      "the"
      " prompt shall hold\n(18446744073709551615: as soon as possible); false means that the old prompt "
      "stays."
      " `reset` takes a seed and starts over at chunk 0. `request-stats` posts `flowcache-stats` at once.\n");
}

gboolean print_field(GQuark field, const GValue* value, gpointer) {
  std::printf("| `%s` | %s |\n", g_quark_to_string(field), G_VALUE_TYPE_NAME(value));
  return TRUE;
}

void print_statistics(GstElement* element) {
  std::printf(
      "\n## Fields of `stats` and of the message `flowcache-stats`\n\n| field | type |\n| --- | --- |\n");
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  gst_structure_foreach(stats, print_field, nullptr);
  gst_structure_free(stats);
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
| `flowcache-prompt` | a prompt was taken up, shows for the first time, or was overtaken by a later one | `state` (received, applied, replaced), `ticket`, `prompt`, `unknown-words`; if applied also `chunk`, `pts` |
| `flowcache-chunk` | first frame of a chunk, with `report-chunks=true` | `chunk`, `pts`, `milliseconds`, `steps-computed`, `steps-reused`, `decisions` (a letter per step: C computed, R reused), `cache-threshold`, `kv-bytes`, `kv-budget`, `prompt-ticket`, `seed` |
| `flowcache-stats` | every `stats-interval`, and on `request-stats` | as above |

Loading posts PROGRESS of code `load`. Underruns post QOS. A refused change, and words that the model does not know, post
WARNING. Errors name the value, the limit and the remedy.

## On buffers

* `FlowCacheMeta` (a custom meta): `chunk`, `frame`, `frames`, `steps-computed`, `steps-reused`, `cache-threshold`, `kv-bytes`,
  `kv-budget`, `prompt-ticket`, `seed`.
* `GstReferenceTimestampMeta` of caps `timestamp/x-flowcache-intent`: the running time at which the chunk was begun.
* With `sei=true` a GstVideoSEIUserDataUnregisteredMeta of UUID 5f3a9c1e-86d2-4b07-9c4f-f10ccac8e5e1: the fields of
  `FlowCacheMeta` as JSON. `x264enc ! flowcachesei ! h264parse` carries it into the bitstream.

## Upstream events

`GST_EVENT_CUSTOM_UPSTREAM` with a structure `flowcache/prompt` (`prompt`: string, `blend-chunks`: uint, `at`: uint64) or
`flowcache/reset` (`seed`: uint64).
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
  print_statistics(element);
  std::fputs(kRest, stdout);
  gst_object_unref(element);
  return 0;
}
