// SPDX-License-Identifier: LGPL-2.1-or-later
#include "sdp.h"

#include <gst/sdp/sdp.h>

#include "handles.h"

namespace flowcache::live {

std::string problem_of_answer(const std::string& sdp) {
  if (sdp.size() > most_sdp) {
    return "an SDP of " + std::to_string(sdp.size()) + " bytes is longer than " + std::to_string(most_sdp);
  }
  GstSDPMessage* message = nullptr;
  if (sdp.rfind("v=0", 0) != 0 || gst_sdp_message_new_from_text(sdp.c_str(), &message) != GST_SDP_OK) {
    return "that is no SDP";
  }
  const std::unique_ptr<GstSDPMessage, Release<gst_sdp_message_free>> owner(message);
  // GStreamer takes the last of several v= lines.
  if (g_strcmp0(gst_sdp_message_get_version(message), "0") != 0) return "that is no SDP of version 0";
  if (gst_sdp_message_medias_len(message) != 1)
    return "the answer has to have exactly one m= line, the offer's";
  const GstSDPMedia* media = gst_sdp_message_get_media(message, 0);
  if (g_strcmp0(gst_sdp_media_get_media(media), "video") != 0)
    return "the answer's m= line is not about video";
  if (gst_sdp_media_get_port(media) == 0) return "the other side does not take this codec";
  if (g_strcmp0(gst_sdp_media_get_proto(media), "UDP/TLS/RTP/SAVPF") != 0) {
    return "the answer's protocol is not UDP/TLS/RTP/SAVPF";
  }
  for (const char* name : {"ice-ufrag", "ice-pwd", "fingerprint"}) {
    if (gst_sdp_media_get_attribute_val(media, name) == nullptr &&
        gst_sdp_message_get_attribute_val(message, name) == nullptr) {
      return std::string("the answer has no a=") + name;
    }
  }
  const char* setup = gst_sdp_media_get_attribute_val(media, "setup");
  if (setup == nullptr) setup = gst_sdp_message_get_attribute_val(message, "setup");
  if (g_strcmp0(setup, "active") != 0 && g_strcmp0(setup, "passive") != 0) {
    return "the answer's a=setup is neither active nor passive";
  }
  if (gst_sdp_media_get_attribute_val(media, "rtpmap") == nullptr) return "the answer has no a=rtpmap";
  return "";
}

bool is_candidate(const std::string& text) {
  return text.size() <= most_candidate && text.rfind("candidate:", 0) == 0;
}

}  // namespace flowcache::live
