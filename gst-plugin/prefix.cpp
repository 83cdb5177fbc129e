// SPDX-License-Identifier: LGPL-2.1-or-later
#include "prefix.h"

#include <gst/video/video.h>

#include <cstdint>

#include "pictures/exif.h"
#include "pictures/picture.h"

namespace flowcache::gst {

namespace {

// The error that ended the pipeline, as the end of a message.
std::string problem_of(GstMessage* message, const char* unknown) {
  GError* error = nullptr;
  gst_message_parse_error(message, &error, nullptr);
  const bool other_type = g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE) ||
                          g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_TYPE_NOT_FOUND);
  const std::string problem = other_type ? unknown : std::string("cannot be read: ") + error->message;
  g_clear_error(&error);
  return problem;
}

// ---- reading a file

// A pipeline that sends a file's content into a sink; owned. Its elements are found by name.
class FileReader {
 public:
  FileReader() = default;
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // launch: a gst-launch line with a filesrc named "file" and a fakesink named "sink". `handoff` is called
  // with `user` for every buffer, on the streaming thread, as for the signal of GstFakeSink. Returns "", or
  // what is missing.
  std::string open(const std::string& launch, const std::string& path, GCallback handoff, gpointer user);
  GstElement* pipeline() const { return pipeline_; }
  // Blocks until the end of the file. Calls `go_on` many times a second. When it returns, nothing runs any
  // more. Returns "", or why the end was not reached: `unknown` if the file has another type.
  std::string run(const char* unknown, GstClockTime patience, const std::function<bool()>& go_on);

 private:
  GstElement* pipeline_ = nullptr;
};

FileReader::~FileReader() {
  if (pipeline_ == nullptr) return;
  gst_element_set_state(pipeline_, GST_STATE_NULL);
  gst_object_unref(pipeline_);
}

std::string FileReader::open(const std::string& launch, const std::string& path, GCallback handoff,
                             gpointer user) {
  GError* error = nullptr;
  GstElement* made = gst_parse_launch(launch.c_str(), &error);
  if (made != nullptr) pipeline_ = GST_ELEMENT(gst_object_ref_sink(made));
  if (error != nullptr) {
    const std::string problem = std::string("cannot be read: ") + error->message +
                                "; install gstreamer1.0-plugins-base and gstreamer1.0-plugins-good.";
    g_clear_error(&error);
    return problem;
  }
  GstElement* file = gst_bin_get_by_name(GST_BIN(pipeline_), "file");
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline_), "sink");
  g_object_set(file, "location", path.c_str(), nullptr);
  g_object_set(sink, "signal-handoffs", TRUE, "sync", FALSE, nullptr);
  g_signal_connect(sink, "handoff", handoff, user);
  gst_object_unref(file);
  gst_object_unref(sink);
  return {};
}

std::string FileReader::run(const char* unknown, GstClockTime patience, const std::function<bool()>& go_on) {
  constexpr GstClockTime kLook = 20 * GST_MSECOND;
  constexpr auto kEnds = static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  GstBus* bus = gst_element_get_bus(pipeline_);
  gst_element_set_state(pipeline_, GST_STATE_PLAYING);
  GstMessage* message = nullptr;
  bool wanted = true;
  for (GstClockTime waited = 0; message == nullptr && wanted && waited < patience; waited += kLook) {
    message = gst_bus_timed_pop_filtered(bus, kLook, kEnds);
    wanted = go_on();
  }
  std::string problem;
  if (!wanted) {
    problem = "was not read to its end.";
  } else if (message == nullptr) {
    problem = "took longer than " + std::to_string(patience / GST_SECOND) + " seconds to read.";
  } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    problem = problem_of(message, unknown);
  }
  if (message != nullptr) gst_message_unref(message);
  gst_object_unref(bus);
  // Waits for the streaming threads, so that the handoff is not called any more.
  gst_element_set_state(pipeline_, GST_STATE_NULL);
  return problem;
}

constexpr GstVideoOrientationMethod kMethods[] = {GST_VIDEO_ORIENTATION_IDENTITY, GST_VIDEO_ORIENTATION_HORIZ,
                                                  GST_VIDEO_ORIENTATION_180,      GST_VIDEO_ORIENTATION_VERT,
                                                  GST_VIDEO_ORIENTATION_UL_LR,    GST_VIDEO_ORIENTATION_90R,
                                                  GST_VIDEO_ORIENTATION_UR_LL,    GST_VIDEO_ORIENTATION_90L};

}  // namespace

std::optional<GstVideoOrientationMethod> exif_orientation(const std::string& path) {
  const int orientation = flowcache::exif_orientation(path);
  return orientation == 0 ? std::nullopt : std::optional(kMethods[orientation - 1]);
}

namespace {

constexpr GstClockTime kPrefixPatience = 60 * GST_SECOND;
constexpr goffset kMaxBytes = goffset{1} << 32;

// The next frame's place.
uint8_t* place_for_frame(PrefixFrames* frames) {
  const size_t bytes = size_t{3} * frames->width * frames->height;
  frames->rgb.resize(frames->rgb.size() + bytes);
  return frames->rgb.data() + frames->rgb.size() - bytes;
}

struct Taker {
  PrefixFrames* frames;
  std::string problem = {};

  // Handles GstFakeSink's signal "handoff". The buffer is RGBA.
  static void take(GstElement*, GstBuffer* buffer, GstPad* pad, Taker* taker) {
    GstCaps* caps = gst_pad_get_current_caps(pad);
    GstVideoInfo format;
    const bool known = caps != nullptr && gst_video_info_from_caps(&format, caps);
    gst_clear_caps(&caps);
    if (known && taker->problem.empty()) taker->add(buffer, format);
  }

  void add(GstBuffer* buffer, const GstVideoInfo& format) {
    GstVideoFrame video;
    problem = size_problem(GST_VIDEO_INFO_WIDTH(&format), GST_VIDEO_INFO_HEIGHT(&format));
    if (frames->count >= kMaxPrefixFrames)
      problem = "has more than " + std::to_string(kMaxPrefixFrames) + " frames: cut it.";
    if (!problem.empty() || !gst_video_frame_map(&video, &format, buffer, GST_MAP_READ)) return;
    const RgbaRows rows{
        .data = static_cast<const uint8_t*>(GST_VIDEO_FRAME_PLANE_DATA(&video, 0)),
        .width = GST_VIDEO_INFO_WIDTH(&format),
        .height = GST_VIDEO_INFO_HEIGHT(&format),
        .stride = GST_VIDEO_FRAME_PLANE_STRIDE(&video, 0),
        .pixel_aspect = static_cast<double>(GST_VIDEO_INFO_PAR_N(&format)) / GST_VIDEO_INFO_PAR_D(&format)};
    if (cover_frame(rows, frames->width, frames->height, place_for_frame(frames)))
      ++frames->count;
    else
      problem = "needs more memory than there is: make it smaller.";
    gst_video_frame_unmap(&video);
  }
};

// How a picture that gdk-pixbuf does not know must be turned: as its EXIF block says, else as the decoder says.
GstVideoOrientationMethod direction_of(const std::string& path) {
  return exif_orientation(path).value_or(GST_VIDEO_ORIENTATION_AUTO);
}

// Frames of a video, or a picture that only GStreamer knows.
std::string read_video(const std::string& path, PrefixFrames* frames, const std::function<bool()>& go_on) {
  FileReader reader;
  Taker taker{frames};
  std::string problem = reader.open(
      "filesrc name=file ! decodebin ! videoconvert ! video/x-raw,format=RGBA ! videoflip video-direction=" +
          std::to_string(direction_of(path)) + " ! fakesink name=sink",
      path, G_CALLBACK(Taker::take), &taker);
  if (!problem.empty()) return problem;
  problem = reader.run("is no image or video that GStreamer knows.", kPrefixPatience,
                       [&] { return taker.problem.empty() && go_on(); });
  if (!taker.problem.empty()) return taker.problem;
  if (problem.empty() && frames->count == 0) return "has no picture in it.";
  return problem;
}

std::string read_still(const std::string& path, PrefixFrames* frames) {
  std::string problem = read_picture(path, frames->width, frames->height, place_for_frame(frames));
  frames->count = 1;
  return problem;
}

// Pictures are read as the command reads them. A GIF may be a video, and is a picture if no other decoder knows it.
std::string read_frames(const std::string& path, PrefixFrames* frames, const std::function<bool()>& go_on) {
  const std::string cannot = file_problem(path, kMaxBytes);
  if (!cannot.empty()) return cannot;
  if (picture_size_of(path, true)) return go_on() ? read_still(path, frames) : "was not read to its end.";
  std::string problem = read_video(path, frames, go_on);
  if (problem.empty() || frames->count > 0 || !go_on() || !picture_size_of(path, false)) return problem;
  return read_still(path, frames);
}

}  // namespace

PrefixFrames load_prefix(const std::string& path, uint32_t width, uint32_t height,
                         const std::function<bool()>& go_on, std::string* error) {
  PrefixFrames frames;
  frames.width = width;
  frames.height = height;
  const std::string problem = read_frames(path, &frames, go_on);
  if (problem.empty()) return frames;
  g_autofree char* name = g_utf8_make_valid(path.c_str(), -1);
  *error = "The prefix \"" + std::string(name) + "\" " + problem + " Give an image or a short video.";
  return {};
}

}  // namespace flowcache::gst
