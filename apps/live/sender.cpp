// SPDX-License-Identifier: LGPL-2.1-or-later
#include "sender.h"

#define GST_USE_UNSTABLE_API
#include <gst/video/video.h>
#include <gst/webrtc/webrtc.h>

namespace flowcache::live {
namespace {

// Packets of 1200 bytes fit every path. Each key frame carries SPS and PPS, so that a viewer can begin at any
// of them. The parser adds them (config-interval), once a picture. The payloader would add them before each
// slice, and a receiver takes that for the beginning of another picture.
constexpr const char* vp8_line =
    "rtpvp8pay mtu=1200 picture-id-mode=15-bit ! application/x-rtp,media=video,encoding-name=VP8,payload=96,"
    "clock-rate=90000";
constexpr const char* h264_line =
    "h264parse config-interval=-1 ! rtph264pay pt=96 mtu=1200 aggregate-mode=zero-latency";
constexpr const char* h264_caps =
    "application/"
    "x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1";
constexpr const char* offered_profile = "42e01f";

// Caps with an SSRC. webrtcbin puts an SSRC into the offer only if the caps have one, and the payloader
// takes it from them. Media servers drop packets of an SSRC that was not offered, and retransmission needs
// it too.
std::string with_ssrc(const char* caps, guint ssrc) {
  return caps + (",ssrc=(uint)" + std::to_string(ssrc));
}

// A probe in front of webrtcbin that hides the encoder's profile-level-id. The encoder chooses a level by
// the size of the picture, but browsers accept only a few levels, so 3.1 is always offered. webrtcbin
// accepts only what it offered. Therefore this probe answers caps queries in its place, without a level, and
// replaces the level in the caps that pass by with the offered one.
GstPadProbeReturn name_as_offered(GstPad*, GstPadProbeInfo* info, gpointer ssrc) {
  if ((GST_PAD_PROBE_INFO_TYPE(info) & GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM) != 0) {
    GstQuery* query = GST_PAD_PROBE_INFO_QUERY(info);
    if (GST_QUERY_TYPE(query) != GST_QUERY_CAPS) return GST_PAD_PROBE_OK;
    GstCaps* filter = nullptr;
    gst_query_parse_caps(query, &filter);
    CapsPtr taken(gst_caps_from_string(with_ssrc(h264_caps, GPOINTER_TO_UINT(ssrc)).c_str()));
    if (filter != nullptr)
      taken.reset(gst_caps_intersect_full(filter, taken.get(), GST_CAPS_INTERSECT_FIRST));
    gst_query_set_caps_result(query, taken.get());
    return GST_PAD_PROBE_HANDLED;
  }
  GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
  if (GST_EVENT_TYPE(event) != GST_EVENT_CAPS) return GST_PAD_PROBE_OK;
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  const CapsPtr renamed(gst_caps_copy(caps));
  gst_caps_set_simple(renamed.get(), "profile-level-id", G_TYPE_STRING, offered_profile, nullptr);
  GST_PAD_PROBE_INFO_DATA(info) = gst_event_new_caps(renamed.get());
  gst_event_unref(event);
  return GST_PAD_PROBE_OK;
}

void offer_h264(GstElement* webrtc, gpointer transceiver, guint ssrc) {
  const CapsPtr offered(gst_caps_from_string(with_ssrc(h264_caps, ssrc).c_str()));
  gst_caps_set_simple(offered.get(), "profile-level-id", G_TYPE_STRING, offered_profile, nullptr);
  g_object_set(transceiver, "codec-preferences", offered.get(), nullptr);
  const GstPtr<GstPad> sink(gst_element_get_static_pad(webrtc, "sink_0"));
  const GstPtr<GstPad> feeding(gst_pad_get_peer(sink.get()));
  const auto types = static_cast<GstPadProbeType>(
      GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM | GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH);
  gst_pad_add_probe(feeding.get(), types, name_as_offered, GUINT_TO_POINTER(ssrc), nullptr);
}

GstPadProbeReturn watch_keyframe_requests(GstPad*, GstPadProbeInfo* info, gpointer tap) {
  if (gst_video_event_is_force_key_unit(GST_PAD_PROBE_INFO_EVENT(info)))
    static_cast<Tap*>(tap)->request_keyframe();
  return GST_PAD_PROBE_OK;
}

}  // namespace

std::shared_ptr<Sender> Sender::make(Tap& tap, Codec codec, const PeerConfig& config, PeerEvents events,
                                     std::string* error) {
  std::shared_ptr<Sender> sender(new Sender(tap, std::move(events)));
  if (!sender->open(codec, config, error)) return nullptr;
  return sender;
}

bool Sender::open(Codec codec, const PeerConfig& config, std::string* error) {
  const guint ssrc = g_random_int_range(1, G_MAXINT32);
  const std::string payload = codec == Codec::H264 ? h264_line : with_ssrc(vp8_line, ssrc);
  if (!prepare("appsrc name=source is-live=true format=time max-bytes=0 ! " + payload +
                   " ! webrtcbin name=webrtc bundle-policy=max-bundle",
               config, error))
    return false;
  GstElement* webrtc = child(pipeline(), "webrtc");
  GstWebRTCRTPTransceiver* transceiver = nullptr;
  g_signal_emit_by_name(webrtc, "get-transceiver", 0, &transceiver);
  // Lost packets are sent again. Otherwise a viewer that loses one would ask for a key frame, which costs all
  // other viewers bandwidth.
  g_object_set(transceiver, "direction", GST_WEBRTC_RTP_TRANSCEIVER_DIRECTION_SENDONLY, "do-nack", TRUE,
               nullptr);
  if (codec == Codec::H264) offer_h264(webrtc, transceiver, ssrc);
  gst_object_unref(transceiver);
  const GstPtr<GstPad> pad(gst_element_get_static_pad(child(pipeline(), "source"), "src"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, watch_keyframe_requests, &tap_, nullptr);
  begin();
  return true;
}

Sender::~Sender() {
  if (consumer_) tap_.detach(consumer_);
}

void Sender::came_up() {
  consumer_ = tap_.attach(child(pipeline(), "source"));
}

}  // namespace flowcache::live
