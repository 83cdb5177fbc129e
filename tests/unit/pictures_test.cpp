// SPDX-License-Identifier: LGPL-2.1-or-later
// Pictures of every kind, and the frame that a video begins with.
#include <gtest/gtest.h>
#include <png.h>
#include <zlib.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "pictures/exif.h"
#include "pictures/picture.h"
#include "temp_folder.h"
#ifdef HAVE_JPEG
#include <jpeglib.h>

#include <cstdlib>
#endif

namespace flowcache {
namespace {

using Rgb = std::array<int, 3>;

// Files of one test.
class Pictures : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_.path / name).string(); }

  struct Png {
    int64_t width = 8, height = 8;
    int color_type = PNG_COLOR_TYPE_RGB, bits = 8;
    std::vector<png_color> palette;
    std::vector<uint8_t> palette_alpha, exif;
  };
  // sample: of row, column and channel.
  std::string write_png(const Png& kind, const std::function<int(int64_t, int64_t, int)>& sample) const {
    static int files = 0;
    const std::string file = path(std::to_string(++files) + ".png");
    std::FILE* to = std::fopen(file.c_str(), "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, to);
    png_set_IHDR(png, info, kind.width, kind.height, kind.bits, kind.color_type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!kind.palette.empty())
      png_set_PLTE(png, info, kind.palette.data(), static_cast<int>(kind.palette.size()));
    if (!kind.palette_alpha.empty())
      png_set_tRNS(png, info, kind.palette_alpha.data(), static_cast<int>(kind.palette_alpha.size()),
                   nullptr);
    std::vector<uint8_t> exif = kind.exif;
    if (!exif.empty()) png_set_eXIf_1(png, info, static_cast<png_uint_32>(exif.size()), exif.data());
    png_write_info(png, info);
    const int channels = png_get_channels(png, info);
    for (int64_t y = 0; y < kind.height; ++y) {
      std::vector<uint8_t> row;
      for (int64_t x = 0; x < kind.width; ++x)
        for (int c = 0; c < channels; ++c) {
          const int value = sample(y, x, c);
          if (kind.bits == 16) row.push_back(static_cast<uint8_t>(value >> 8));
          row.push_back(static_cast<uint8_t>(value));
        }
      png_write_row(png, row.data());
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    std::fclose(to);
    return file;
  }

  static std::vector<uint8_t> read(const std::string& file, int64_t width, int64_t height) {
    std::vector<uint8_t> rgb(3 * width * height, 99);
    EXPECT_EQ(read_picture(file, width, height, rgb.data()), "");
    return rgb;
  }
  static std::string refusal(const std::string& file) {
    std::vector<uint8_t> rgb(3 * 16 * 16);
    return read_picture(file, 16, 16, rgb.data());
  }

 private:
  test::TempFolder folder_;
};

Rgb pixel(const std::vector<uint8_t>& rgb, int64_t width, int64_t x, int64_t y) {
  const uint8_t* at = rgb.data() + 3 * (y * width + x);
  return {at[0], at[1], at[2]};
}

void expect_near(const Rgb& got, const Rgb& wanted, int tolerance, const std::string& what) {
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(got[c], wanted[c], tolerance) << what << ", channel " << c;
}

int value(int64_t y, int64_t x, int c) {
  return static_cast<int>(y * 29 + x * 3 + c * 71) % 256;
}

TEST_F(Pictures, OfTheFramesSizeAreTakenAsTheyAre) {
  const std::string file = write_png({}, value);
  const auto rgb = read(file, 8, 8);
  for (int64_t y = 0; y < 8; ++y)
    for (int64_t x = 0; x < 8; ++x)
      for (int c = 0; c < 3; ++c) ASSERT_EQ(pixel(rgb, 8, x, y)[c], value(y, x, c));
}

TEST_F(Pictures, SixteenBitsBecomeEight) {
  const auto deep = [](int64_t y, int64_t x, int c) { return value(y, x, c) * 256 + 200; };
  for (const int type : {PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_GRAY}) {
    const auto rgb = read(write_png({.color_type = type, .bits = 16}, deep), 8, 8);
    for (int64_t y = 0; y < 8; ++y)
      for (int64_t x = 0; x < 8; ++x)
        for (int c = 0; c < 3; ++c)
          ASSERT_EQ(pixel(rgb, 8, x, y)[c], value(y, x, type == PNG_COLOR_TYPE_RGB ? c : 0));
  }
}

TEST_F(Pictures, GreyAndPalettesBecomeColours) {
  const auto grey = read(write_png({.color_type = PNG_COLOR_TYPE_GRAY}, value), 8, 8);
  EXPECT_EQ(pixel(grey, 8, 5, 3), (Rgb{102, 102, 102}));
  const Png indexed{.color_type = PNG_COLOR_TYPE_PALETTE,
                    .palette = {{10, 20, 30}, {200, 100, 50}, {255, 255, 255}},
                    .palette_alpha = {255, 128}};
  const auto palette =
      read(write_png(indexed, [](int64_t, int64_t x, int) { return static_cast<int>(x % 3); }), 8, 8);
  EXPECT_EQ(pixel(palette, 8, 0, 0), (Rgb{10, 20, 30}));
  EXPECT_EQ(pixel(palette, 8, 1, 7), (Rgb{100, 50, 25})) << "half transparent, on black";
  EXPECT_EQ(pixel(palette, 8, 2, 7), (Rgb{255, 255, 255}));
}

TEST_F(Pictures, WhatIsTransparentIsPutOnBlack) {
  const auto faint = [](int64_t, int64_t x, int c) { return c == 3 ? static_cast<int>(x * 36) : 200; };
  const auto rgba = read(write_png({.color_type = PNG_COLOR_TYPE_RGBA}, faint), 8, 8);
  const auto faint_grey = [](int64_t, int64_t x, int c) { return c == 1 ? static_cast<int>(x * 36) : 200; };
  const auto grey = read(write_png({.color_type = PNG_COLOR_TYPE_GRAY_ALPHA}, faint_grey), 8, 8);
  for (int x = 0; x < 8; ++x) {
    const int wanted = (200 * 36 * x + 127) / 255;
    EXPECT_EQ(pixel(rgba, 8, x, 4), (Rgb{wanted, wanted, wanted}));
    EXPECT_EQ(pixel(grey, 8, x, 4), (Rgb{wanted, wanted, wanted}));
  }
  // Colours of what cannot be seen do not mix with their neighbours when the picture is scaled.
  const auto ghost = [](int64_t, int64_t x, int c) {
    return x < 4 ? (c == 3 ? 255 : 0) : (c == 3 ? 0 : 255);
  };
  const auto scaled = read(write_png({.color_type = PNG_COLOR_TYPE_RGBA}, ghost), 64, 64);
  for (const uint8_t one : scaled) ASSERT_EQ(one, 0);
}

// Thirds of red, green and blue, side by side.
int thirds(int64_t width, int64_t x, int c) {
  return c == 3 * x / width ? 255 : 0;
}

TEST_F(Pictures, CoverTheFrameAndLoseTheirEdges) {
  const std::string wide =
      write_png({.width = 90, .height = 30}, [](int64_t, int64_t x, int c) { return thirds(90, x, c); });
  const auto square = read(wide, 60, 60);
  for (const int x : {2, 30, 57})
    for (const int y : {0, 30, 59}) EXPECT_EQ(pixel(square, 60, x, y), (Rgb{0, 255, 0})) << x << ", " << y;
  // As wide as itself: nothing is lost. Higher: the sides are.
  const auto whole = read(wide, 180, 60);
  EXPECT_EQ(pixel(whole, 180, 2, 30), (Rgb{255, 0, 0}));
  EXPECT_EQ(pixel(whole, 180, 177, 30), (Rgb{0, 0, 255}));
  const std::string high =
      write_png({.width = 30, .height = 90}, [](int64_t y, int64_t, int c) { return thirds(90, y, c); });
  const auto other = read(high, 64, 64);
  EXPECT_EQ(pixel(other, 64, 3, 2), (Rgb{0, 255, 0}));
  EXPECT_EQ(pixel(other, 64, 60, 61), (Rgb{0, 255, 0}));
  const auto middle = read(wide, 100, 50);  // 2 : 1, so a quarter of the outer thirds stays
  EXPECT_EQ(pixel(middle, 100, 5, 20), (Rgb{255, 0, 0}));
  EXPECT_EQ(pixel(middle, 100, 30, 20), (Rgb{0, 255, 0}));
  EXPECT_EQ(pixel(middle, 100, 95, 20), (Rgb{0, 0, 255}));
}

TEST_F(Pictures, AreAveragedWhenTheyShrink) {
  const auto board = [](int64_t y, int64_t x, int) { return (x + y) % 2 == 0 ? 255 : 0; };
  const auto rgb = read(write_png({.width = 512, .height = 512}, board), 16, 16);
  for (const uint8_t one : rgb) ASSERT_NEAR(one, 127, 3);
}

TEST_F(Pictures, OfOnePixelFillTheFrame) {
  const auto rgb =
      read(write_png({.width = 1, .height = 1}, [](int64_t, int64_t, int c) { return 40 * c + 7; }), 130, 70);
  for (int64_t i = 0; i < 130 * 70; ++i) ASSERT_EQ(pixel(rgb, 130, i, 0), (Rgb{7, 47, 87}));
}

TEST_F(Pictures, FromAVideoAreTheSameAsFromAFile) {
  const auto sample = [](int64_t y, int64_t x, int c) { return value(y, x, c); };
  const int64_t width = 37, height = 23;
  const std::string file =
      write_png({.width = width, .height = height, .color_type = PNG_COLOR_TYPE_RGBA}, sample);
  std::vector<uint8_t> rgba(height * 160, 77);  // with padding behind each row
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int c = 0; c < 4; ++c) rgba[y * 160 + 4 * x + c] = static_cast<uint8_t>(sample(y, x, c));
  std::vector<uint8_t> rgb(3 * 64 * 48);
  EXPECT_TRUE(cover_frame({rgba.data(), width, height, 160}, 64, 48, rgb.data()));
  EXPECT_EQ(rgb, read(file, 64, 48));
}

TEST_F(Pictures, WithPixelsThatAreNotSquareKeepTheirShape) {
  std::vector<uint8_t> rgba;
  for (int i = 0; i < 30 * 30; ++i)
    for (int c = 0; c < 4; ++c) rgba.push_back(static_cast<uint8_t>(c == 3 ? 255 : thirds(30, i % 30, c)));
  std::vector<uint8_t> rgb(3 * 30 * 30);
  EXPECT_TRUE(cover_frame({rgba.data(), 30, 30, 120, 3.0}, 30, 30, rgb.data()));  // shown as 90 x 30
  EXPECT_EQ(pixel(rgb, 30, 4, 15), (Rgb{0, 255, 0}));
  EXPECT_EQ(pixel(rgb, 30, 25, 15), (Rgb{0, 255, 0}));
}

// TIFF 6.0 in either order of bytes, with another entry before the orientation.
std::vector<uint8_t> exif(int orientation, bool big) {
  std::vector<uint8_t> block;
  const auto put = [&](uint32_t number, int bytes) {
    for (int i = 0; i < bytes; ++i)
      block.push_back(static_cast<uint8_t>(number >> 8 * (big ? bytes - 1 - i : i)));
  };
  block.assign(2, big ? 'M' : 'I');
  put(42, 2), put(8, 4), put(2, 2);
  put(0x0100, 2), put(3, 2), put(1, 4), put(640, 2), put(0, 2);
  put(0x0112, 2), put(3, 2), put(1, 4), put(static_cast<uint32_t>(orientation), 2), put(0, 2);
  put(0, 4);
  return block;
}

TEST_F(Pictures, AreTurnedAsTheirExifSays) {
  // The file's first row is red, its first column blue, their corner green. Where the corner and the end of the row are shown:
  // TIFF 6.0, "Orientation".
  const auto sample = [](int64_t y, int64_t x, int c) {
    return c == (x == 0 && y == 0 ? 1 : y == 0 ? 0 : x == 0 ? 2 : 3) ? 255 : 0;
  };
  struct Shown {
    int corner_x, corner_y, red_x, red_y;
  };
  const Shown shown[] = {{0, 0, 4, 0}, {7, 0, 4, 0}, {7, 7, 4, 7}, {0, 7, 4, 7},
                         {0, 0, 0, 4}, {7, 0, 7, 4}, {7, 7, 7, 4}, {0, 7, 0, 4}};
  for (int orientation = 0; orientation <= 9; ++orientation)
    for (const bool big : {true, false}) {
      const std::string file = write_png({.exif = exif(orientation, big)}, sample);
      const bool known = orientation >= 1 && orientation <= 8;
      EXPECT_EQ(exif_orientation(file), known ? orientation : 0);
      const Shown& wanted = shown[known ? orientation - 1 : 0];
      const auto rgb = read(file, 8, 8);
      EXPECT_EQ(pixel(rgb, 8, wanted.corner_x, wanted.corner_y), (Rgb{0, 255, 0})) << orientation;
      EXPECT_EQ(pixel(rgb, 8, wanted.red_x, wanted.red_y), (Rgb{255, 0, 0})) << orientation;
      EXPECT_EQ(pixel(rgb, 8, 4, 4), (Rgb{0, 0, 0})) << orientation;
    }
}

void write(const std::string& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}
std::string content(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The file holds 8 x 8 pixels only: had it been decoded, the message would be another.
TEST_F(Pictures, ThatAreHugeAreRefusedBeforeTheyAreDecoded) {
  std::string png = content(write_png({}, value));
  const auto side = [&](size_t at, uint32_t pixels) {
    for (int i = 0; i < 4; ++i) png[at + i] = static_cast<char>(pixels >> 8 * (3 - i));
    const std::string checked = png.substr(12, 17);
    const auto sum = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size())));
    for (int i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(sum >> 8 * (3 - i));
    write(path("huge.png"), png);
    return refusal(path("huge.png"));
  };
  EXPECT_EQ(side(16, 40000),
            "is 40000x8, at most 32768 pixels a side and 134 megapixels are read: make it smaller.");
  side(16, 20000);
  EXPECT_EQ(side(20, 20000),
            "is 20000x20000, at most 32768 pixels a side and 134 megapixels are read: make it smaller.");
  side(16, 20);
  EXPECT_NE(side(20, 20).find("cannot be read"), std::string::npos) << "not too large, only wrong";
}

TEST_F(Pictures, ThatAreDamagedSayWhatIsWrong) {
  const auto noisy = [](int64_t y, int64_t x, int c) { return static_cast<int>(y * x * 37 + c * 11) % 256; };
  const std::string whole = content(write_png({.width = 64, .height = 64}, noisy));
  const std::string file = path("damaged.png");
  for (size_t end = 0; end < whole.size() - 12; end += 97) {  // the last chunk says only that it is the last
    write(file, whole.substr(0, end));
    EXPECT_NE(refusal(file), "") << end << " of " << whole.size();
  }
  std::string wrong = whole;
  for (size_t i = 60; i < 90; ++i) wrong[i] = static_cast<char>(~wrong[i]);
  write(file, wrong);
  EXPECT_NE(refusal(file).find("cannot be read"), std::string::npos);
  write(file, "a text");
  EXPECT_EQ(refusal(file), "is no picture that gdk-pixbuf knows.");
  write(file, "");
  EXPECT_EQ(refusal(file), "is no picture that gdk-pixbuf knows.");
  EXPECT_EQ(refusal(path("none.png")), "is no picture that gdk-pixbuf knows.");
}

#ifdef HAVE_JPEG
// Of one colour, in the colours of print as Adobe's programs write them (inverted) or in RGB.
std::string jpeg(J_COLOR_SPACE colours, const std::vector<uint8_t>& pixel, int width, int height) {
  jpeg_compress_struct out{};
  jpeg_error_mgr errors;
  out.err = jpeg_std_error(&errors);
  jpeg_create_compress(&out);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&out, &bytes, &size);
  out.image_width = static_cast<JDIMENSION>(width);
  out.image_height = static_cast<JDIMENSION>(height);
  out.input_components = static_cast<int>(pixel.size());
  out.in_color_space = colours;
  jpeg_set_defaults(&out);
  if (colours == JCS_CMYK) jpeg_set_colorspace(&out, JCS_CMYK);
  jpeg_set_quality(&out, 100, TRUE);
  jpeg_start_compress(&out, TRUE);
  std::vector<uint8_t> row;
  for (int x = 0; x < width; ++x) row.insert(row.end(), pixel.begin(), pixel.end());
  for (int y = 0; y < height; ++y) {
    JSAMPROW one = row.data();
    jpeg_write_scanlines(&out, &one, 1);
  }
  jpeg_finish_compress(&out);
  const std::string text(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&out);
  std::free(bytes);
  return text;
}

TEST_F(Pictures, InTheColoursOfPrintBecomeRgb) {
  const std::string file = path("photo.jpg");
  write(file, jpeg(JCS_CMYK, {255, 64, 255, 255}, 40, 24));  // no cyan, much magenta, no yellow, no black
  expect_near(pixel(read(file, 64, 64), 64, 30, 30), {255, 64, 255}, 3, "CMYK");
  write(file, jpeg(JCS_CMYK, {255, 255, 255, 100}, 40, 24));
  expect_near(pixel(read(file, 64, 64), 64, 5, 60), {100, 100, 100}, 3, "black only");
  write(file, jpeg(JCS_RGB, {10, 200, 90}, 40, 24));
  expect_near(pixel(read(file, 64, 64), 64, 5, 60), {10, 200, 90}, 3, "RGB");
  write(file, jpeg(JCS_GRAYSCALE, {77}, 40, 24));
  expect_near(pixel(read(file, 64, 64), 64, 5, 60), {77, 77, 77}, 3, "grey");
}

TEST_F(Pictures, OfAPhotoThatIsCutAreRefused) {
  const std::string whole = jpeg(JCS_RGB, {10, 200, 90}, 400, 240), file = path("photo.jpg");
  for (size_t end = 0; end + 2 < whole.size(); end += 101) {
    write(file, whole.substr(0, end));
    EXPECT_NE(refusal(file), "") << end << " of " << whole.size();
  }
}
#endif

}  // namespace
}  // namespace flowcache
