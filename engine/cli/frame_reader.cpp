// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/frame_reader.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "pictures/picture.h"

namespace flowcache::cli {

namespace {

namespace fs = std::filesystem;

constexpr size_t most_frames = 4096;

[[noreturn]] void fail(const fs::path& file, const std::string& why) {
  throw std::runtime_error("--prefix: " + file.string() + " " + why);
}

}  // namespace

std::vector<std::string> prefix_files(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) fail(path, "is not there");
  if (!fs::is_directory(path, error)) {
    if (!picture_size_of(path, false))
      fail(path, "is no picture that gdk-pixbuf knows. Videos are read by flowcachesrc (prefix-location)");
    return {path};
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(".") && entry.is_regular_file(error) &&
        picture_size_of(entry.path().string(), false))
      files.push_back(entry.path().string());
  }
  if (files.empty()) fail(path, "has no picture in it that gdk-pixbuf knows");
  if (files.size() > most_frames)
    fail(path, "has " + std::to_string(files.size()) + " pictures in it, at most " +
                   std::to_string(most_frames) + " are read");
  std::sort(files.begin(), files.end());
  return files;
}

Frames read_frames(const std::vector<std::string>& files, uint32_t width, uint32_t height) {
  const size_t bytes = size_t{3} * width * height;
  Frames frames{.rgb = std::vector<uint8_t>(files.size() * bytes), .width = width, .height = height};
  for (const std::string& file : files) {
    const std::string problem = read_picture(file, width, height, frames.rgb.data() + frames.count * bytes);
    if (!problem.empty()) fail(file, problem);
    ++frames.count;
  }
  return frames;
}

}  // namespace flowcache::cli
