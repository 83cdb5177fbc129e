// SPDX-License-Identifier: LGPL-2.1-or-later
#include "camera.h"

#include <utility>

#define GST_USE_UNSTABLE_API
#include <gst/webrtc/webrtc.h>

namespace flowcache::live {
namespace {

// VP8 alone: every browser encodes it, and each decoder more is one more that strangers can feed.
constexpr const char* wanted_caps =
    "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000";
// Milliseconds that packets are waited for.
constexpr const char* jitter = "100";

// The size that the header of a VP8 key frame tells (RFC 6386, 9.1); none for other frames.
std::optional<Intake::Size> size_of_key_frame(GstBuffer* frame) {
  guint8 header[10];
  if (gst_buffer_extract(frame, 0, header, sizeof header) != sizeof header || (header[0] & 1) != 0)
    return std::nullopt;
  return Intake::Size{static_cast<unsigned>(header[6] | (header[7] & 0x3f) << 8),
                      static_cast<unsigned>(header[8] | (header[9] & 0x3f) << 8)};
}

// Keeps pictures that are too large from the decoder. It says so once, as an error of the pipeline.
GstPadProbeReturn watch_size(GstPad* pad, GstPadProbeInfo* info, gpointer) {
  const auto size = size_of_key_frame(GST_PAD_PROBE_INFO_BUFFER(info));
  if (!size || (size->width <= Camera::most_side && size->height <= Camera::most_side))
    return GST_PAD_PROBE_OK;
  const GstPtr<GstElement> decoder(gst_pad_get_parent_element(pad));
  GST_ELEMENT_ERROR(decoder.get(), STREAM, WRONG_TYPE,
                    ("the camera's picture has %ux%u pixels; a side may have at most %u", size->width,
                     size->height, Camera::most_side),
                    (nullptr));
  return GST_PAD_PROBE_DROP;
}

}  // namespace

std::shared_ptr<Camera> Camera::make(std::shared_ptr<FrameFeeder> feeder, const PeerConfig& config,
                                     PeerEvents events, std::string* error) {
  std::shared_ptr<Camera> camera(new Camera(std::move(events)));
  if (!camera->open(std::move(feeder), config, error)) return nullptr;
  return camera;
}

bool Camera::open(std::shared_ptr<FrameFeeder> feeder, const PeerConfig& config, std::string* error) {
  if (!prepare(std::string("webrtcbin name=webrtc bundle-policy=max-bundle latency=") + jitter +
                   " webrtc. ! rtpvp8depay request-keyframe=true wait-for-keyframe=true ! vp8dec name=decoder"
                   " automatic-request-sync-points=true min-force-key-unit-interval=1000000000 ! " +
                   Intake::line(feeder->caps(), /*clock=*/false),
               config, error))
    return false;
  const CapsPtr caps(gst_caps_from_string(wanted_caps));
  GstWebRTCRTPTransceiver* transceiver = nullptr;
  g_signal_emit_by_name(child(pipeline(), "webrtc"), "add-transceiver",
                        GST_WEBRTC_RTP_TRANSCEIVER_DIRECTION_RECVONLY, caps.get(), &transceiver);
  g_object_set(transceiver, "do-nack", TRUE, nullptr);
  gst_object_unref(transceiver);
  intake_ = std::make_unique<Intake>(pipeline(), std::move(feeder));
  const GstPtr<GstPad> pad(gst_element_get_static_pad(child(pipeline(), "decoder"), "sink"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_BUFFER, watch_size, nullptr, nullptr);
  last_seen_ = g_get_monotonic_time();
  timer_ = g_timeout_add(
      500,
      [](gpointer self) -> gboolean {
        static_cast<Camera*>(self)->look();
        return G_SOURCE_CONTINUE;
      },
      this);
  begin();
  return true;
}

Camera::~Camera() {
  if (timer_ != 0) g_source_remove(timer_);
}

void Camera::look() {
  const gint64 now = g_get_monotonic_time();
  if (std::exchange(seen_, intake_->frames()) != intake_->frames()) last_seen_ = now;
  const unsigned most = seen_ == 0 ? seconds_to_begin : seconds_of_silence;
  if (now - last_seen_ < gint64{most} * G_USEC_PER_SEC) return;
  fail("no picture came for " + std::to_string(most) + " s");
}

}  // namespace flowcache::live
