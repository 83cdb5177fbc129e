// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pictures/picture.h"

#include <gdk-pixbuf/gdk-pixbuf.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>

#include "pictures/exif.h"

namespace flowcache {
namespace {

struct Unref {
  void operator()(GdkPixbuf* one) const { g_object_unref(one); }
};
using OwnedPixbuf = std::unique_ptr<GdkPixbuf, Unref>;

OwnedPixbuf new_rgb(int64_t width, int64_t height) {
  return OwnedPixbuf(
      gdk_pixbuf_new(GDK_COLORSPACE_RGB, FALSE, 8, static_cast<int>(width), static_cast<int>(height)));
}

OwnedPixbuf on_black(const RgbaRows& picture) {
  OwnedPixbuf rgb = new_rgb(picture.width, picture.height);
  if (!rgb) return nullptr;
  guint8* const pixels = gdk_pixbuf_get_pixels(rgb.get());
  const int64_t stride = gdk_pixbuf_get_rowstride(rgb.get());
  for (int64_t y = 0; y < picture.height; ++y) {
    const uint8_t* from = picture.data + y * picture.stride;
    guint8* to = pixels + y * stride;
    for (int64_t x = 0; x < picture.width; ++x, from += 4, to += 3)
      for (int c = 0; c < 3; ++c) to[c] = static_cast<guint8>((from[c] * from[3] + 127) / 255);
  }
  return rgb;
}

// The name of the file's format, and the size in its header; "" for a format that gdk-pixbuf does not know.
std::string format_of(const std::string& path, FileSize* size) {
  int width = 0, height = 0;
  GdkPixbufFormat* format = gdk_pixbuf_get_file_info(path.c_str(), &width, &height);
  if (format == nullptr) return {};
  g_autofree gchar* name = gdk_pixbuf_format_get_name(format);
  *size = {width, height};
  return name;
}

// Whether the end of the picture is there. gdk-pixbuf fills what is missing of a photo with grey, and reports no error. In
// the data of a scan 0xFF is followed by 0 or by the number of a restart; anything else is a segment or the end (ITU-T T.81,
// B.1.1).
bool jpeg_has_its_end(const std::string& path) {
  constexpr int fill = 0xFF, restart = 0xD0, end_of_image = 0xD9;
  std::ifstream in(path, std::ios::binary);
  in.ignore(2);  // the mark of the beginning
  for (int byte = in.get(); in; byte = in.get()) {
    if (byte != fill) continue;
    while (byte == fill) byte = in.get();
    if (byte == end_of_image) return true;
    if (byte <= 1 || (byte >= restart && byte < restart + 8)) continue;
    const int high = in.get(), length = high * 256 + in.get();
    in.ignore(std::max(0, length - 2));
  }
  return false;
}

// Null if the file cannot be decoded to its end, with the reason.
OwnedPixbuf decoded(const std::string& path, bool jpeg, std::string* problem) {
  GError* error = nullptr;
  OwnedPixbuf picture(gdk_pixbuf_new_from_file(path.c_str(), &error));
  if (!picture) *problem = error != nullptr ? error->message : "there is no picture in it.";
  g_clear_error(&error);
  if (picture && jpeg && !jpeg_has_its_end(path)) {
    *problem = "its end is missing.";
    picture.reset();
  }
  return picture;
}

// What TIFF calls orientation: where the first row and the first column of the file are shown.
OwnedPixbuf turned(OwnedPixbuf picture, int orientation) {
  const bool mirrored = orientation == 2 || orientation == 4 || orientation == 5 || orientation == 7;
  GdkPixbufRotation rotation = GDK_PIXBUF_ROTATE_NONE;
  if (orientation == 3 || orientation == 4) rotation = GDK_PIXBUF_ROTATE_UPSIDEDOWN;
  if (orientation == 6 || orientation == 7) rotation = GDK_PIXBUF_ROTATE_CLOCKWISE;
  if (orientation == 5 || orientation == 8) rotation = GDK_PIXBUF_ROTATE_COUNTERCLOCKWISE;
  if (mirrored) picture.reset(gdk_pixbuf_flip(picture.get(), TRUE));
  if (picture && rotation != GDK_PIXBUF_ROTATE_NONE)
    picture.reset(gdk_pixbuf_rotate_simple(picture.get(), rotation));
  return picture;
}

int orientation_of(GdkPixbuf* picture, const std::string& path) {
  if (const int own = exif_orientation(path); own != 0) return own;
  const char* option = gdk_pixbuf_get_option(picture, "orientation");  // TIFF
  return option != nullptr ? static_cast<int>(g_ascii_strtoll(option, nullptr, 10)) : 1;
}

bool cover(GdkPixbuf* picture, double pixel_aspect, int64_t width, int64_t height, uint8_t* rgb) {
  const int64_t own_width = gdk_pixbuf_get_width(picture), own_height = gdk_pixbuf_get_height(picture);
  const auto shown = static_cast<double>(own_width) * pixel_aspect;
  OwnedPixbuf frame;
  if (own_width != width || own_height != height || pixel_aspect != 1) {
    frame = new_rgb(width, height);
    if (!frame) return false;
    const auto w = static_cast<double>(width), h = static_cast<double>(height),
               rows = static_cast<double>(own_height);
    const double scale = std::max(w / shown, h / rows);
    gdk_pixbuf_scale(picture, frame.get(), 0, 0, static_cast<int>(width), static_cast<int>(height),
                     (w - shown * scale) / 2, (h - rows * scale) / 2, scale * pixel_aspect, scale,
                     GDK_INTERP_BILINEAR);
    picture = frame.get();
  }
  const guint8* const pixels = gdk_pixbuf_read_pixels(picture);
  const int64_t stride = gdk_pixbuf_get_rowstride(picture);
  for (int64_t y = 0; y < height; ++y)
    std::memcpy(rgb + 3 * y * width, pixels + y * stride, static_cast<size_t>(3 * width));
  return true;
}

constexpr const char* no_memory = "needs more memory than there is: make it smaller.";

}  // namespace

std::string size_problem(int64_t width, int64_t height) {
  if (width <= most_picture_side && height <= most_picture_side && width * height <= most_picture_pixels)
    return {};
  return "is " + std::to_string(width) + "x" + std::to_string(height) + ", at most " +
         std::to_string(most_picture_side) + " pixels a side and " +
         std::to_string(most_picture_pixels / 1'000'000) + " megapixels are read: make it smaller.";
}

bool cover_frame(const RgbaRows& picture, int64_t width, int64_t height, uint8_t* rgb) {
  const OwnedPixbuf own = on_black(picture);
  return own && cover(own.get(), picture.pixel_aspect, width, height, rgb);
}

std::optional<FileSize> picture_size_of(const std::string& path, bool stills_only) {
  FileSize size;
  const std::string format = format_of(path, &size);
  if (format.empty() || (stills_only && (format == "gif" || format == "ani"))) return std::nullopt;
  return size;
}

std::string read_picture(const std::string& path, int64_t width, int64_t height, uint8_t* rgb) {
  FileSize size;
  const std::string format = format_of(path, &size);
  if (format.empty()) return "is no picture that gdk-pixbuf knows.";
  std::string problem = size_problem(size.width, size.height);
  if (!problem.empty()) return problem;
  OwnedPixbuf picture = decoded(path, format == "jpeg", &problem);
  if (!picture) return "cannot be read: " + problem;
  const int orientation = orientation_of(picture.get(), path);
  if (gdk_pixbuf_get_has_alpha(picture.get()))
    picture = on_black({.data = gdk_pixbuf_read_pixels(picture.get()),
                        .width = gdk_pixbuf_get_width(picture.get()),
                        .height = gdk_pixbuf_get_height(picture.get()),
                        .stride = gdk_pixbuf_get_rowstride(picture.get())});
  if (picture) picture = turned(std::move(picture), orientation);
  if (!picture || !cover(picture.get(), 1, width, height, rgb)) return no_memory;
  return {};
}

}  // namespace flowcache
