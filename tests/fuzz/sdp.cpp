// SPDX-License-Identifier: LGPL-2.1-or-later
// The SDP of a browser or of a WHIP server, before webrtcbin sees it.
#include "sdp.h"

#include <gst/sdp/sdp.h>

#include "fuzz.h"
#include "handles.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  using namespace flowcache::live;
  const std::string text(fuzz::text_of(data, size));
  FUZZ_REQUIRE(!is_candidate(text) || text.size() <= most_candidate);
  if (const std::string problem = problem_of_answer(text); !problem.empty()) {
    FUZZ_REQUIRE(problem.size() < 200);
    return 0;
  }
  // webrtcbin gets it as GStreamer reads it once more.
  GstSDPMessage* message = nullptr;
  FUZZ_REQUIRE(gst_sdp_message_new_from_text(text.c_str(), &message) == GST_SDP_OK);
  FUZZ_REQUIRE(gst_sdp_message_medias_len(message) == 1);
  const GstSDPMedia* media = gst_sdp_message_get_media(message, 0);
  FUZZ_REQUIRE(std::string(gst_sdp_media_get_media(media)) == "video" && gst_sdp_media_get_port(media) != 0);
  FUZZ_REQUIRE(std::string(gst_sdp_message_get_version(message)) == "0");
  const TextPtr written(gst_sdp_message_as_text(message));
  FUZZ_REQUIRE(written.get() != nullptr);
  gst_sdp_message_free(message);
  return 0;
}
