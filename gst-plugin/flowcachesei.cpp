// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * SECTION:element-flowcachesei
 * @title: flowcachesei
 *
 * Writes what flowcachesrc says about its frames into H.264, H.265 or AV1, as messages that players skip. Put
 * it after an encoder: it writes each buffer's GstVideoSEIUserDataUnregisteredMeta into the bitstream, which
 * the encoders of GStreamer 1.22 do not do.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 flowcachesrc sei=true num-buffers=64 ! x264enc ! flowcachesei ! h264parse ! mp4mux !
 *   filesink location=out.mp4
 * ]|
 */
#include <gst/base/gstbasetransform.h>
#include <gst/video/video-sei.h>
#include <gst/video/video.h>

#include <exception>

#include "engine.h"
#include "user_data.h"

#define FLOWCACHE_TYPE_SEI (gst_flow_cache_sei_get_type())
G_DECLARE_FINAL_TYPE(GstFlowCacheSei, gst_flow_cache_sei, FLOWCACHE, SEI, GstBaseTransform)

struct _GstFlowCacheSei {
  GstBaseTransform parent;
  flowcache::gst::UnitFormat format;  // streaming thread only
};

G_DEFINE_FINAL_TYPE(GstFlowCacheSei, gst_flow_cache_sei, GST_TYPE_BASE_TRANSFORM)
GST_ELEMENT_REGISTER_DEFINE(flowcachesei, "flowcachesei", GST_RANK_NONE, FLOWCACHE_TYPE_SEI)

namespace flowcache::gst {
namespace {

constexpr const char* kCaps =
    "video/x-h264, stream-format = (string) { byte-stream, avc, avc3 }, alignment = (string) au; "
    "video/x-h265, stream-format = (string) { byte-stream, hvc1, hev1 }, alignment = (string) au; "
    "video/x-av1, stream-format = (string) obu-stream, alignment = (string) { tu, frame }";
GstStaticPadTemplate kSink =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(kCaps));
GstStaticPadTemplate kSource =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(kCaps));

// lengthSizeMinusOne of ISO/IEC 14496-15 is in the last bits of this byte of a decoder's configuration.
constexpr size_t kAvcLengthSize = 4, kHevcLengthSize = 21;

UnitFormat format_of(const GstStructure* s) {
  UnitFormat format;
  if (gst_structure_has_name(s, "video/x-av1")) return {Codec::Av1, 0};
  format.codec = gst_structure_has_name(s, "video/x-h265") ? Codec::H265 : Codec::H264;
  if (g_strcmp0(gst_structure_get_string(s, "stream-format"), "byte-stream") == 0) return format;
  format.length_bytes = 4;
  const size_t at = format.codec == Codec::H265 ? kHevcLengthSize : kAvcLengthSize;
  const GValue* codec_data = gst_structure_get_value(s, "codec_data");
  GstMapInfo map;
  if (codec_data != nullptr && gst_buffer_map(gst_value_get_buffer(codec_data), &map, GST_MAP_READ)) {
    if (map.size > at) format.length_bytes = (map.data[at] & 3u) + 1;
    gst_buffer_unmap(gst_value_get_buffer(codec_data), &map);
  }
  return format;
}

gboolean sei_set_caps(GstBaseTransform* transform, GstCaps* in, GstCaps*) {
  FLOWCACHE_SEI(transform)->format = format_of(gst_caps_get_structure(in, 0));
  return TRUE;
}

// The units for those messages of the buffer that are not in its bytes yet. place: offset where they belong.
std::vector<uint8_t> messages_of(GstBuffer* buffer, std::span<const uint8_t> bytes, size_t place,
                                 UnitFormat format) {
  std::vector<uint8_t> all;
  gpointer state = nullptr;
  while (GstMeta* meta = gst_buffer_iterate_meta_filtered(
             buffer, &state, GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE)) {
    const auto* sei = reinterpret_cast<GstVideoSEIUserDataUnregisteredMeta*>(meta);
    const std::span<const uint8_t> uuid(sei->uuid, 16), data(sei->data, sei->size);
    if (has_user_data(bytes.first(place), uuid, data, format)) continue;
    const std::vector<uint8_t> one = user_data_unit(uuid, data, format);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

gboolean drop_if_sei(GstBuffer*, GstMeta** meta, gpointer) {
  if ((*meta)->info->api == GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE) *meta = nullptr;
  return TRUE;
}

// Returns a buffer whose messages are in its bytes and no longer in metas. So a parser after it finds them
// in the bytes, and another inserter has nothing to insert. Returns null if there are no messages or no
// place for them.
GstBuffer* with_messages(GstBuffer* in, UnitFormat format) {
  GstMapInfo map;
  if (gst_buffer_get_n_meta(in, GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE) == 0 ||
      !gst_buffer_map(in, &map, GST_MAP_READ))
    return nullptr;
  const std::span<const uint8_t> bytes(map.data, map.size);
  const auto place = place_of_user_data(bytes, format);
  const std::vector<uint8_t> messages =
      place ? messages_of(in, bytes, *place, format) : std::vector<uint8_t>{};
  gst_buffer_unmap(in, &map);
  if (!place) return nullptr;
  GstBuffer* out = gst_buffer_new();
  gst_buffer_copy_into(out, in, GST_BUFFER_COPY_METADATA, 0, static_cast<gsize>(-1));
  gst_buffer_foreach_meta(out, drop_if_sei, nullptr);
  if (*place > 0) gst_buffer_copy_into(out, in, GST_BUFFER_COPY_MEMORY, 0, *place);
  if (!messages.empty()) {
    auto* copy = static_cast<guint8*>(g_memdup2(messages.data(), messages.size()));
    gst_buffer_append_memory(out, gst_memory_new_wrapped(static_cast<GstMemoryFlags>(0), copy,
                                                         messages.size(), 0, messages.size(), copy, g_free));
  }
  gst_buffer_copy_into(out, in, GST_BUFFER_COPY_MEMORY, *place, static_cast<gsize>(-1));
  return out;
}

GstFlowReturn prepare_output_buffer(GstBaseTransform* transform, GstBuffer* in, GstBuffer** out) {
  try {
    *out = with_messages(in, FLOWCACHE_SEI(transform)->format);
  } catch (const std::exception& defect) {
    GST_ELEMENT_ERROR(transform, LIBRARY, FAILED, ("flowcachesei failed: %s", defect.what()), (nullptr));
    return GST_FLOW_ERROR;
  }
  if (*out == nullptr) *out = in;
  return GST_FLOW_OK;
}

GstFlowReturn transform(GstBaseTransform*, GstBuffer*, GstBuffer*) {
  return GST_FLOW_OK;
}

}  // namespace
}  // namespace flowcache::gst

static void gst_flow_cache_sei_init(GstFlowCacheSei* element) {
  element->format = {};
}

static void gst_flow_cache_sei_class_init(GstFlowCacheSeiClass* klass) {
  namespace element = flowcache::gst;
  GstElementClass* element_class = GST_ELEMENT_CLASS(klass);
  gst_element_class_add_static_pad_template(element_class, &element::kSink);
  gst_element_class_add_static_pad_template(element_class, &element::kSource);
  gst_element_class_set_static_metadata(
      element_class, "FlowCache SEI inserter", "Codec/Parser/Video",
      "Writes unregistered user data of buffers (flowcachesrc sei=true) into H.264, H.265 and AV1",
      "The gst-flowcache project");
  GstBaseTransformClass* transform_class = GST_BASE_TRANSFORM_CLASS(klass);
  transform_class->set_caps = GST_DEBUG_FUNCPTR(element::sei_set_caps);
  transform_class->prepare_output_buffer = GST_DEBUG_FUNCPTR(element::prepare_output_buffer);
  transform_class->transform = GST_DEBUG_FUNCPTR(element::transform);
}
