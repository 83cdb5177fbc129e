// SPDX-License-Identifier: LGPL-2.1-or-later
#include "prefix.h"

#include <gst/video/video.h>

#include "exif.h"
#include "file_reader.h"

namespace flowcache::gst {
namespace {

constexpr GstClockTime kPrefixPatience = 60 * GST_SECOND;
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

/// Pad probe on RGBA: puts black behind what is transparent, before neighbouring pixels are mixed.
GstPadProbeReturn put_on_black(GstPad* pad, GstPadProbeInfo* info, gpointer) {
  GstBuffer* buffer = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
  GST_PAD_PROBE_INFO_DATA(info) = buffer;
  GstCaps* caps = gst_pad_get_current_caps(pad);
  GstVideoInfo format;
  GstVideoFrame video;
  if (caps != nullptr && gst_video_info_from_caps(&format, caps) &&
      gst_video_frame_map(&video, &format, buffer, GST_MAP_READWRITE)) {
    for (int y = 0; y < GST_VIDEO_INFO_HEIGHT(&format); ++y) {
      uint8_t* pixel = static_cast<uint8_t*>(GST_VIDEO_FRAME_PLANE_DATA(&video, 0)) +
                       static_cast<ptrdiff_t>(y) * GST_VIDEO_FRAME_PLANE_STRIDE(&video, 0);
      for (const uint8_t* end = pixel + 4 * GST_VIDEO_INFO_WIDTH(&format); pixel != end; pixel += 4)
        for (int c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>((pixel[c] * pixel[3] + 127) / 255);
    }
    gst_video_frame_unmap(&video);
  }
  gst_clear_caps(&caps);
  return GST_PAD_PROBE_OK;
}

/// Elements that decode a file, in the order in which they are tried: pictures that decodebin does not know,
/// such as BMP, GdkPixbuf may.
constexpr const char* kDecoders[] = {"decodebin", "gdkpixbufdec"};

/// How to turn the picture: as its EXIF block says, which most decoders do not tell, else as they do tell.
GstVideoOrientationMethod direction_of(const std::string& path) {
  return exif_orientation(path).value_or(GST_VIDEO_ORIENTATION_AUTO);
}

std::string read_with(const char* decoder, const std::string& path, Taker* taker,
                      const std::function<bool()>& go_on) {
  FileReader reader;
  const std::string size =
      "width=" + std::to_string(taker->frames->width) + ",height=" + std::to_string(taker->frames->height);
  std::string problem =
      reader.open("filesrc name=file ! " + std::string(decoder) +
                      " ! videoconvert ! capsfilter name=colors caps=video/x-raw,format=RGBA "
                      "! videoflip video-direction=" +
                      std::to_string(direction_of(path)) +
                      " ! videoscale add-borders=false "
                      "! videoconvert ! video/x-raw,format=RGB," +
                      size + ",pixel-aspect-ratio=1/1 ! fakesink name=sink",
                  path, G_CALLBACK(Taker::take), taker);
  if (!problem.empty()) return problem;
  GstElement* colors = gst_bin_get_by_name(GST_BIN(reader.pipeline()), "colors");
  GstPad* pad = gst_element_get_static_pad(colors, "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, put_on_black, nullptr, nullptr);
  gst_object_unref(pad);
  gst_object_unref(colors);
  problem = reader.run("is no image or video that GStreamer knows.", kPrefixPatience,
                       [&] { return !taker->too_many && go_on(); });
  if (taker->too_many) return "has more than " + std::to_string(kMaxPrefixFrames) + " frames: cut it.";
  if (problem.empty() && taker->frames->count == 0) return "has no picture in it.";
  return problem;
}

std::string read_frames(const std::string& path, Taker* taker, const std::function<bool()>& go_on) {
  const std::string cannot = file_problem(path, kMaxBytes);
  if (!cannot.empty()) return cannot;
  std::string problem;  // of the first way
  for (const char* decoder : kDecoders) {
    const std::string own = read_with(decoder, path, taker, go_on);
    if (own.empty()) return {};
    if (problem.empty()) problem = own;
    if (taker->frames->count > 0 || !go_on()) break;
  }
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
