// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frames.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

namespace demo {
namespace {

constexpr int border = 4;  // pixels between the pictures of a contact sheet

// The caller's image of packed RGB as a buffer that GStreamer's encoders take.
GstSample* rgb_sample(const std::vector<uint8_t>& pixels, int width, int height) {
  GstVideoInfo info;
  gst_video_info_set_format(&info, GST_VIDEO_FORMAT_RGB, width, height);
  GST_VIDEO_INFO_FPS_N(&info) = 1;
  GST_VIDEO_INFO_FPS_D(&info) = 1;
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, GST_VIDEO_INFO_SIZE(&info), nullptr);
  const auto stride = static_cast<size_t>(GST_VIDEO_INFO_PLANE_STRIDE(&info, 0));
  for (int y = 0; y < height; ++y)
    gst_buffer_fill(buffer, y * stride, pixels.data() + static_cast<size_t>(y) * width * 3,
                    static_cast<size_t>(width) * 3);
  GST_BUFFER_PTS(buffer) = 0;
  GstCaps* caps = gst_video_info_to_caps(&info);
  GstSample* sample = gst_sample_new(buffer, caps, nullptr, nullptr);
  gst_caps_unref(caps);
  gst_buffer_unref(buffer);
  return sample;
}

std::string write_png(const std::vector<uint8_t>& pixels, int width, int height, const std::string& path) {
  GstSample* raw = rgb_sample(pixels, width, height);
  GstCaps* png = gst_caps_new_empty_simple("image/png");
  GError* error = nullptr;
  GstSample* encoded = gst_video_convert_sample(raw, png, 10 * GST_SECOND, &error);
  gst_sample_unref(raw);
  gst_caps_unref(png);
  if (!encoded) {
    std::string message = error ? error->message : "no PNG encoder";
    g_clear_error(&error);
    return message;
  }
  GstMapInfo map;
  gst_buffer_map(gst_sample_get_buffer(encoded), &map, GST_MAP_READ);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(map.data), static_cast<std::streamsize>(map.size));
  file.close();
  gst_buffer_unmap(gst_sample_get_buffer(encoded), &map);
  gst_sample_unref(encoded);
  return file ? "" : "cannot write " + path;
}

}  // namespace

std::vector<uint8_t> FrameStore::rgb(uint64_t number) const {
  GstVideoInfo in = info_, out;
  gst_video_info_set_format(&out, GST_VIDEO_FORMAT_RGB, width(), height());
  out.fps_n = in.fps_n;  // the converter refuses to convert frame rates
  out.fps_d = in.fps_d;
  GstBuffer* target = gst_buffer_new_allocate(nullptr, GST_VIDEO_INFO_SIZE(&out), nullptr);
  GstVideoConverter* converter = gst_video_converter_new(&in, &out, nullptr);
  GstVideoFrame source_frame, target_frame;
  gst_video_frame_map(&source_frame, &in, frames_.at(number).get(), GST_MAP_READ);
  gst_video_frame_map(&target_frame, &out, target, GST_MAP_WRITE);
  gst_video_converter_frame(converter, &source_frame, &target_frame);
  std::vector<uint8_t> pixels(static_cast<size_t>(width()) * height() * 3);
  const auto* rows = static_cast<const uint8_t*>(GST_VIDEO_FRAME_PLANE_DATA(&target_frame, 0));
  for (int y = 0; y < height(); ++y)
    std::memcpy(pixels.data() + static_cast<size_t>(y) * width() * 3,
                rows + static_cast<size_t>(y) * GST_VIDEO_FRAME_PLANE_STRIDE(&target_frame, 0),
                static_cast<size_t>(width()) * 3);
  gst_video_frame_unmap(&target_frame);
  gst_video_frame_unmap(&source_frame);
  gst_video_converter_free(converter);
  gst_buffer_unref(target);
  return pixels;
}

double psnr(const FrameStore& a, const FrameStore& b, uint64_t count) {
  double squares = 0;
  uint64_t samples = 0;
  for (uint64_t n = 0; n < count; ++n) {
    if (!a.has(n) || !b.has(n)) continue;
    const auto left = a.rgb(n), right = b.rgb(n);
    if (left.size() != right.size()) continue;
    for (size_t i = 0; i < left.size(); ++i) {
      const double difference = static_cast<double>(left[i]) - right[i];
      squares += difference * difference;
    }
    samples += left.size();
  }
  if (samples == 0) return std::numeric_limits<double>::quiet_NaN();
  if (squares == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(samples) / squares);
}

std::string write_contact_sheet(const FrameStore& frames, const std::vector<uint64_t>& numbers, int columns,
                                const std::string& path) {
  std::vector<uint64_t> kept;
  std::copy_if(numbers.begin(), numbers.end(), std::back_inserter(kept),
               [&](uint64_t n) { return frames.has(n); });
  if (kept.empty()) return "no frames were kept";
  columns = std::min<int>(columns, static_cast<int>(kept.size()));
  const int rows = (static_cast<int>(kept.size()) + columns - 1) / columns;
  const int width = columns * (frames.width() + border) + border,
            height = rows * (frames.height() + border) + border;
  std::vector<uint8_t> sheet(static_cast<size_t>(width) * height * 3, 24);
  for (size_t i = 0; i < kept.size(); ++i) {
    const auto pixels = frames.rgb(kept[i]);
    const int left = border + static_cast<int>(i) % columns * (frames.width() + border);
    const int top = border + static_cast<int>(i) / columns * (frames.height() + border);
    for (int y = 0; y < frames.height(); ++y)
      std::memcpy(sheet.data() + (static_cast<size_t>(top + y) * width + left) * 3,
                  pixels.data() + static_cast<size_t>(y) * frames.width() * 3,
                  static_cast<size_t>(frames.width()) * 3);
  }
  return write_png(sheet, width, height, path);
}

std::vector<uint64_t> spread(uint64_t total, uint64_t count) {
  count = std::min(count, total);
  std::vector<uint64_t> numbers;
  for (uint64_t i = 0; i < count; ++i) numbers.push_back(count == 1 ? 0 : i * (total - 1) / (count - 1));
  return numbers;
}

}  // namespace demo
