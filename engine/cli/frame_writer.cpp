// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/frame_writer.h"

#include <png.h>

#include <cerrno>
#include <cstring>
#include <regex>

#include "cli/commands.h"

namespace flowcache::cli {

namespace {

[[noreturn]] void fail(const std::string& path) {
  throw std::runtime_error("cannot write " + path + ": " + std::strerror(errno));
}

}  // namespace

void FrameWriter::check_path(const std::string& path) {
  if (path == "-") return;
  static const std::regex one_number("[^%]*%0?[1-9]?d[^%]*");
  if (path.ends_with(".png") && !std::regex_match(path, one_number))
    throw std::runtime_error("--out " + path +
                             ": an image path needs exactly one number like frame-%04d.png");
  if (!path.ends_with(".png") && !path.ends_with(".y4m"))
    throw std::runtime_error(
        "--out " + path +
        ": give a name that ends in .y4m, numbered .png files (generate --help shows how) or - "
        "for standard output");
  check_output(path, "");
}

FrameWriter::FrameWriter(const std::string& path, const fc_model_info& video) : path_(path), video_(video) {
  check_path(path);
  if (path.ends_with(".png")) return;
  file_ = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
  if (!file_) fail(path);
  if (std::fprintf(file_, "YUV4MPEG2 W%u H%u F%u:%u Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED\n", video.width,
                   video.height, video.fps_n, video.fps_d) < 0)
    fail(path);
}

FrameWriter::~FrameWriter() {
  if (file_ && file_ != stdout) std::fclose(file_);
}

void FrameWriter::write(const fc_chunk* chunk, uint32_t frames) {
  for (uint32_t frame = 0; frame < frames; ++frame) file_ ? write_y4m(chunk, frame) : write_png(chunk, frame);
}

void FrameWriter::close() {
  if (file_ && std::fflush(file_) != 0) fail(path_);
}

void FrameWriter::write_y4m(const fc_chunk* chunk, uint32_t frame) {
  const uint32_t width = video_.width, half_width = (width + 1) / 2, half_height = (video_.height + 1) / 2;
  const size_t luma = size_t{width} * video_.height, chroma = size_t{half_width} * half_height;
  pixels_.resize(luma + 2 * chroma);
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.format = FC_FORMAT_I420;
  planes.plane[0] = pixels_.data();
  planes.plane[1] = pixels_.data() + luma;
  planes.plane[2] = pixels_.data() + luma + chroma;
  planes.stride[0] = width;
  planes.stride[1] = planes.stride[2] = half_width;
  check(fc_chunk_write(chunk, frame, &planes));
  if (std::fputs("FRAME\n", file_) < 0 ||
      std::fwrite(pixels_.data(), 1, pixels_.size(), file_) != pixels_.size())
    fail(path_);
}

void FrameWriter::write_png(const fc_chunk* chunk, uint32_t frame) {
  pixels_.resize(size_t{4} * video_.width * video_.height);
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.format = FC_FORMAT_RGBA;
  planes.plane[0] = pixels_.data();
  planes.stride[0] = 4 * video_.width;
  check(fc_chunk_write(chunk, frame, &planes));
  char name[4096];
  std::snprintf(name, sizeof name, path_.c_str(), next_image_++);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = video_.width;
  image.height = video_.height;
  image.format = PNG_FORMAT_RGBA;
  if (!png_image_write_to_file(&image, name, 0, pixels_.data(), static_cast<png_int_32>(planes.stride[0]),
                               nullptr))
    throw std::runtime_error(std::string("cannot write ") + name + ": " + image.message);
}

}  // namespace flowcache::cli
