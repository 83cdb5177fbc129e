// SPDX-License-Identifier: LGPL-2.1-or-later
#include "prefix.h"

#include <gst/video/video.h>

#include "file_reader.h"

namespace flowcache::gst {
namespace {

constexpr GstClockTime kPatience = 60 * GST_SECOND;
constexpr goffset kMaxBytes = goffset{1} << 32;

struct Taker {
  PrefixFrames* frames;
  GstVideoInfo info;
  bool too_many = false;

  /// GstFakeSink's signal "handoff".
  static void take(GstElement*, GstBuffer* buffer, GstPad*, Taker* taker) {
    GstVideoFrame video;
    if (taker->frames->count >= kMaxPrefixFrames) taker->too_many = true;
    if (taker->too_many || !gst_video_frame_map(&video, &taker->info, buffer, GST_MAP_READ)) return;
    const auto row = static_cast<size_t>(3) * static_cast<size_t>(GST_VIDEO_INFO_WIDTH(&taker->info));
    const auto* data = static_cast<const uint8_t*>(GST_VIDEO_FRAME_PLANE_DATA(&video, 0));
    for (int y = 0; y < GST_VIDEO_INFO_HEIGHT(&taker->info); ++y) {
      const uint8_t* from = data + static_cast<ptrdiff_t>(y) * GST_VIDEO_FRAME_PLANE_STRIDE(&video, 0);
      taker->frames->rgb.insert(taker->frames->rgb.end(), from, from + row);
    }
    gst_video_frame_unmap(&video);
    ++taker->frames->count;
  }
};

std::string read_frames(const std::string& path, Taker* taker, const std::function<bool()>& go_on) {
  std::string problem = file_problem(path, kMaxBytes);
  if (!problem.empty()) return problem;
  FileReader reader;
  const std::string size =
      "width=" + std::to_string(taker->frames->width) + ",height=" + std::to_string(taker->frames->height);
  problem = reader.open(
      "filesrc name=file ! decodebin ! videoconvert ! videoscale add-borders=false ! "
      "video/x-raw,format=RGB," +
          size + ",pixel-aspect-ratio=1/1 ! fakesink name=sink",
      path, G_CALLBACK(Taker::take), taker);
  if (!problem.empty()) return problem;
  problem = reader.run("is no image or video that GStreamer knows.", kPatience,
                       [&] { return !taker->too_many && go_on(); });
  if (taker->too_many) return "has more than " + std::to_string(kMaxPrefixFrames) + " frames: cut it.";
  if (problem.empty() && taker->frames->count == 0) return "has no picture in it.";
  return problem;
}

}  // namespace

PrefixFrames load_prefix(const std::string& path, uint32_t width, uint32_t height,
                         const std::function<bool()>& go_on, std::string* error) {
  PrefixFrames frames;
  frames.width = width;
  frames.height = height;
  Taker taker{&frames, {}};
  gst_video_info_set_format(&taker.info, GST_VIDEO_FORMAT_RGB, width, height);
  const std::string problem = read_frames(path, &taker, go_on);
  if (problem.empty()) return frames;
  g_autofree char* name = g_utf8_make_valid(path.c_str(), -1);
  *error = "The prefix \"" + std::string(name) + "\" " + problem + " Give an image or a short video.";
  return {};
}

}  // namespace flowcache::gst
