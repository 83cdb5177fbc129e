// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/video_input.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <sstream>

namespace flowcache::cli {
namespace {

constexpr size_t longest_header = 4096;

// A line without its end. False at the end of the file.
bool read_line(FILE* file, std::string& line) {
  line.clear();
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    if (c == '\n') return true;
    if (line.size() == longest_header) return false;
    line.push_back(static_cast<char>(c));
  }
  return !line.empty();
}

uint32_t side_of(const std::string& text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

size_t luma_bytes(uint32_t width, uint32_t height) {
  return size_t{width} * height;
}
size_t chroma_bytes(uint32_t width, uint32_t height) {
  return size_t{(width + 1) / 2} * ((height + 1) / 2);
}

}  // namespace

void VideoInput::fail(const std::string& why) const {
  throw std::runtime_error("--input " + path_ + ": " + why);
}

VideoInput::VideoInput(const std::string& path, const fc_model_info& video) : path_(path) {
  if (path != "-" && !path.ends_with(".y4m")) {
    try {
      images_ = read_frames(prefix_files(path), video.width, video.height);
    } catch (const std::runtime_error& error) {
      fail(std::string(error.what()) +
           "; --input takes FILE.y4m, - for Y4M on standard input, a picture or a folder of "
           "pictures; ffmpeg -i VIDEO -pix_fmt yuv420p FILE.y4m makes one of any other");
    }
    return;
  }
  file_.reset(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file_) fail(std::strerror(errno));
  read_header(video);
}

void VideoInput::check_size(uint32_t width, uint32_t height, const fc_model_info& video) const {
  if (width == video.width && height == video.height) return;
  const std::string wanted = std::to_string(video.width) + "x" + std::to_string(video.height);
  fail("it is " + std::to_string(width) + "x" + std::to_string(height) + ", the video is " + wanted +
       ": scale it (ffmpeg -vf scale=" + std::to_string(video.width) + ":" + std::to_string(video.height) +
       "), or name its size in --size if the model draws it");
}

void VideoInput::read_header(const fc_model_info& video) {
  std::string line, word;
  if (!read_line(file_.get(), line) || !line.starts_with("YUV4MPEG2"))
    fail("it does not begin as Y4M does (YUV4MPEG2); ffmpeg -i VIDEO -pix_fmt yuv420p FILE.y4m makes one");
  std::istringstream words(line.substr(9));
  std::string format = "420";
  while (words >> word) {
    const std::string value = word.substr(1);
    if (word[0] == 'W') width_ = side_of(value);
    if (word[0] == 'H') height_ = side_of(value);
    if (word[0] == 'C') format = value;
    if (word == "XCOLORRANGE=FULL")
      fail("its colours have the full range; limited range is wanted: ffmpeg -vf scale=out_range=tv");
  }
  if (format != "420" && format != "420jpeg" && format != "420mpeg2" && format != "420paldv")
    fail("its format is C" + format + "; 8-bit 4:2:0 is wanted: ffmpeg -pix_fmt yuv420p");
  check_size(width_, height_, video);
}

bool VideoInput::next(std::vector<uint8_t>& pixels, fc_planes& planes) {
  planes = fc_planes_init();
  if (!file_) {
    if (next_image_ == images_.count) return false;
    const size_t count = luma_bytes(images_.width, images_.height);
    const uint8_t* from = images_.rgb.data() + 3 * count * next_image_++;
    pixels.resize(4 * count);
    for (size_t i = 0; i < count; ++i, from += 3) std::copy(from, from + 3, pixels.data() + 4 * i);
    planes.format = FC_FORMAT_RGBA;
    planes.plane[0] = pixels.data();
    planes.stride[0] = 4 * images_.width;
    return true;
  }
  std::string line;
  if (!read_line(file_.get(), line)) return false;
  if (!line.starts_with("FRAME")) fail("a frame does not begin with FRAME: the file is damaged");
  const size_t luma = luma_bytes(width_, height_), chroma = chroma_bytes(width_, height_);
  pixels.resize(luma + 2 * chroma);
  if (std::fread(pixels.data(), 1, pixels.size(), file_.get()) != pixels.size())
    fail("its last frame is cut off");
  planes.format = FC_FORMAT_I420;
  planes.plane[0] = pixels.data();
  planes.plane[1] = pixels.data() + luma;
  planes.plane[2] = pixels.data() + luma + chroma;
  planes.stride[0] = width_;
  planes.stride[1] = planes.stride[2] = (width_ + 1) / 2;
  return true;
}

Feeder::Feeder(fc_stream* stream, VideoInput& input, double strength, bool follow_motion)
    : stream_(stream), input_(input), strength_(strength), follow_motion_(follow_motion) {
  fc_stream_stats stats = fc_stream_stats_init();
  check(fc_stream_get_stats(stream, &stats));
  in_flight_ = std::max(1U, stats.chunks_in_flight);
}

bool Feeder::feed_ahead() {
  for (; fed_chunks_ < chunks_ + in_flight_; ++fed_chunks_) {
    uint32_t wanted = 0;
    check(fc_stream_feed_frames(stream_, &wanted));
    std::vector<std::vector<uint8_t>> pixels(wanted);
    std::vector<fc_planes> planes(wanted);
    uint32_t count = 0;
    fc_planes last{};
    while (count < wanted && input_.next(pixels[count], planes[count])) {
      last = planes[count];
      ++count;
    }
    read_ += count;
    if (read_ == 0) throw std::runtime_error("--input: there is no frame in it");
    if (count == 0 && shown_ == read_) return false;
    if (count > 0) {
      last_ = pixels[count - 1];
      last_planes_ = last;
      for (void*& plane : last_planes_.plane)
        if (plane) plane = last_.data() + (static_cast<uint8_t*>(plane) - pixels[count - 1].data());
    }
    std::fill(planes.begin() + count, planes.end(), last_planes_);
    fc_feed feed = fc_feed_init();
    feed.frames = planes.data();
    feed.count = wanted;
    feed.strength = strength_;
    feed.follow_motion = follow_motion_ ? 1 : 0;
    check(fc_stream_feed(stream_, &feed, nullptr));
  }
  return true;
}

uint32_t Feeder::shown(uint32_t frames) {
  ++chunks_;
  const uint64_t own = std::min<uint64_t>(frames, read_ - shown_);
  shown_ += own;
  return static_cast<uint32_t>(own);
}

}  // namespace flowcache::cli
