// SPDX-License-Identifier: LGPL-2.1-or-later
// How an image file says that its picture is to be turned: the file as it is, and a TIFF block inside of JPEG, PNG and WebP,
// which all have to say the same.
#include <gst/gst.h>

#include "fuzz.h"
#include "gst-plugin/prefix.h"

namespace {

namespace fuzz = flowcache::fuzz;
using Turn = std::optional<GstVideoOrientationMethod>;

Turn turn_of(const std::string& bytes) {
  static const fuzz::MemoryFile file;
  file.write(bytes);
  const Turn turn = flowcache::gst::exif_orientation(file.path());
  FUZZ_REQUIRE(!turn || (*turn >= GST_VIDEO_ORIENTATION_IDENTITY && *turn <= GST_VIDEO_ORIENTATION_UR_LL));
  return turn;
}

std::string number(size_t value, int bytes, bool big_endian) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * (big_endian ? bytes - 1 - i : i));
  return text;
}

void check_block(const std::string& block) {
  using namespace std::string_literals;
  const std::string marked = "Exif\0\0"s + block;
  const Turn jpeg =
      turn_of("\xFF\xD8\xFF\xE1"s + number(marked.size() + 2, 2, true) + marked + "\xFF\xDA\0\0\0\0\0\0"s);
  const Turn png =
      turn_of("\x89PNG\r\n\x1A\n"s + number(block.size(), 4, true) + "eXIf" + block + "\0\0\0\0"s);
  const Turn webp = turn_of("RIFF\0\0\0\0WEBPEXIF"s + number(block.size(), 4, false) + block);
  FUZZ_REQUIRE(jpeg == png && png == webp);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool begun = [] {
    gst_init(nullptr, nullptr);
    return true;
  }();
  (void)begun;
  const std::string bytes(fuzz::text_of(data, size));
  turn_of(bytes);
  if ((bytes.starts_with("II") || bytes.starts_with("MM")) && size < 60000) check_block(bytes);
  return 0;
}
