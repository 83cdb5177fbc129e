// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/frame_reader.h"

#include <png.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

namespace flowcache::cli {

namespace {

namespace fs = std::filesystem;

constexpr size_t most_frames = 4096;
constexpr uint32_t most_pixels = 8192;

std::vector<fs::path> files_of(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.path().extension() == ".png") files.push_back(entry.path());
  if (files.empty()) throw std::runtime_error("--prefix " + path + ": there is no PNG file in this folder");
  if (files.size() > most_frames)
    throw std::runtime_error("--prefix " + path + ": " + std::to_string(files.size()) +
                             " PNG files, at most " + std::to_string(most_frames) + " are read");
  std::sort(files.begin(), files.end());
  return files;
}

void append(const fs::path& file, Frames& frames) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const auto fail = [&](const std::string& why) {
    png_image_free(&image);
    throw std::runtime_error("--prefix: " + file.string() + ": " + why);
  };
  if (!png_image_begin_read_from_file(&image, file.c_str())) fail(image.message);
  if (image.width > most_pixels || image.height > most_pixels)
    fail(std::to_string(image.width) + "x" + std::to_string(image.height) + " is larger than any video here");
  if (frames.count > 0 && (image.width != frames.width || image.height != frames.height))
    fail("it is " + std::to_string(image.width) + "x" + std::to_string(image.height) +
         ", the frames before it are " + std::to_string(frames.width) + "x" + std::to_string(frames.height));
  frames.width = image.width;
  frames.height = image.height;
  image.format = PNG_FORMAT_RGB;
  const size_t start = frames.rgb.size();
  frames.rgb.resize(start + PNG_IMAGE_SIZE(image));
  const png_color black{};  // shows through transparent pixels
  if (!png_image_finish_read(&image, &black, frames.rgb.data() + start, 0, nullptr)) fail(image.message);
  ++frames.count;
}

}  // namespace

Frames read_frames(const std::string& path) {
  Frames frames;
  for (const fs::path& file : files_of(path)) append(file, frames);
  return frames;
}

}  // namespace flowcache::cli
