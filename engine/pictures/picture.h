// SPDX-License-Identifier: LGPL-2.1-or-later
// Still pictures from disk, brought to the size of a video. The command and the element use the same code, so that a
// picture gives both the same frame. Files are decoded by gdk-pixbuf.
//
// The rule for any picture: 16 bits become 8 by their upper half, grey and palettes become RGB, CMYK becomes RGB without colour
// profiles. What is transparent is put on black, before it mixes with its neighbours. The picture is turned upright as its
// EXIF block says. Then it is scaled, with its shape kept, until it covers the frame, and its middle is taken.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace flowcache {

// Pictures beyond this are refused before they are decoded.
inline constexpr int64_t most_picture_side = 32768;
inline constexpr int64_t most_picture_pixels = int64_t{1} << 27;  // 134 megapixels, half a gigabyte of RGBA

// Rows of RGBA, 8 bits, alpha not multiplied in.
struct RgbaRows {
  const uint8_t* data = nullptr;
  int64_t width = 0, height = 0;
  int64_t stride = 0;       // bytes from row to row
  double pixel_aspect = 1;  // width of a pixel by its height
};

// Empty, or why a picture of this size is not read, as the end of a sentence.
std::string size_problem(int64_t width, int64_t height);

// Writes width x height x 3 bytes to `rgb`: the picture on black, covering the frame, cropped around its middle. A picture
// that has the frame's size already is not filtered. Returns false if there is no memory for it.
bool cover_frame(const RgbaRows& picture, int64_t width, int64_t height, uint8_t* rgb);

// The width and height in a picture's file, as it lies there. Nothing if gdk-pixbuf does not know the format, and for
// GIF with `stills_only`, as that may be moving.
struct FileSize {
  int64_t width = 0, height = 0;
};
std::optional<FileSize> picture_size_of(const std::string& path, bool stills_only);

// Reads a picture into width x height x 3 bytes at `rgb`. Returns "", or what is wrong, as the end of a sentence that
// begins with the file's name. Of a GIF the first picture counts. Thread-safe.
std::string read_picture(const std::string& path, int64_t width, int64_t height, uint8_t* rgb);

}  // namespace flowcache
