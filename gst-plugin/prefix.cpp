// SPDX-License-Identifier: LGPL-2.1-or-later
#include "prefix.h"

#include <gst/tag/tag.h>
#include <gst/video/video.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

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

// ---- EXIF

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kMostBytes = 1 << 20;  // in JPEG an EXIF block has at most 64 KiB, with its thumbnail
constexpr std::string_view kExifMark("Exif\0\0", 6);

uint32_t big_endian(const uint8_t* bytes, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

// Reads the next bytes of a file; fewer at its end.
Bytes take(std::istream& in, uint32_t count) {
  Bytes bytes(std::min(count, kMostBytes));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(in.gcount()));
  return bytes;
}

Bytes without_mark(Bytes block) {
  if (block.size() >= kExifMark.size() && std::memcmp(block.data(), kExifMark.data(), kExifMark.size()) == 0)
    block.erase(block.begin(), block.begin() + kExifMark.size());
  return block;
}

// JPEG: a segment APP1 that is marked as EXIF, before the picture's own segments.
Bytes block_of_jpeg(std::istream& in) {
  in.seekg(2);
  while (true) {
    const Bytes head = take(in, 4);
    if (head.size() < 4 || head[0] != 0xFF || head[1] == 0xDA) return {};
    const uint32_t length = big_endian(&head[2], 2);
    if (length < 2) return {};
    const auto next = in.tellg() + std::streamoff{length - 2};
    if (head[1] == 0xE1) {
      Bytes block = take(in, length - 2);
      Bytes tiff = without_mark(block);
      if (tiff.size() < block.size()) return tiff;
    }
    in.seekg(next);
  }
}

// PNG: the chunk eXIf (PNG 3rd edition, 11.3.4.5).
Bytes block_of_png(std::istream& in) {
  in.seekg(8);
  while (true) {
    const Bytes head = take(in, 8);
    if (head.size() < 8) return {};
    const uint32_t length = big_endian(head.data(), 4);
    if (std::memcmp(&head[4], "eXIf", 4) == 0) return without_mark(take(in, length));
    in.seekg(std::streamoff{length} + 4, std::ios::cur);  // the data and its checksum
  }
}

// WebP: the RIFF chunk EXIF (RFC 9649, 2.7.1.5).
Bytes block_of_webp(std::istream& in) {
  in.seekg(12);
  while (true) {
    const Bytes head = take(in, 8);
    if (head.size() < 8) return {};
    const uint32_t length =
        head[4] | uint32_t{head[5]} << 8 | uint32_t{head[6]} << 16 | uint32_t{head[7]} << 24;
    if (std::memcmp(head.data(), "EXIF", 4) == 0) return without_mark(take(in, length));
    in.seekg(std::streamoff{length} + length % 2, std::ios::cur);
  }
}

// The EXIF block, which is a TIFF structure.
Bytes exif_block(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const Bytes start = take(in, 12);
  if (start.size() < 12) return {};
  const auto begins = [&](std::string_view with, size_t at = 0) {
    return std::memcmp(start.data() + at, with.data(), with.size()) == 0;
  };
  if (begins("\xFF\xD8\xFF")) return block_of_jpeg(in);
  if (begins("\x89PNG")) return block_of_png(in);
  if (begins("RIFF") && begins("WEBP", 8)) return block_of_webp(in);
  return {};
}

}  // namespace

std::optional<GstVideoOrientationMethod> exif_orientation(const std::string& path) {
  const Bytes block = exif_block(path);
  if (block.size() < 8) return std::nullopt;
  GstBuffer* buffer = gst_buffer_new_memdup(block.data(), block.size());
  GstTagList* tags = gst_tag_list_from_exif_buffer_with_tiff_header(buffer);
  gst_buffer_unref(buffer);
  GstVideoOrientationMethod method = GST_VIDEO_ORIENTATION_IDENTITY;
  const bool found = tags != nullptr && gst_video_orientation_from_tag(tags, &method);
  if (tags != nullptr) gst_tag_list_unref(tags);
  return found ? std::optional(method) : std::nullopt;
}

namespace {

constexpr GstClockTime kPrefixPatience = 60 * GST_SECOND;
constexpr goffset kMaxBytes = goffset{1} << 32;

struct Taker {
  PrefixFrames* frames;
  GstVideoInfo info;
  bool too_many = false;

  // Handles GstFakeSink's signal "handoff".
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

// A pad probe on RGBA: puts transparent pixels on black, before they are mixed with their neighbours.
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

// Elements that decode a file, in the order in which they are tried. GdkPixbuf knows some pictures that
// decodebin does not, such as BMP.
constexpr const char* kDecoders[] = {"decodebin", "gdkpixbufdec"};

// How the picture must be turned: as its EXIF block says, which most decoders do not report; else as the
// decoder says.
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
  std::string problem;  // what the first decoder said
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
