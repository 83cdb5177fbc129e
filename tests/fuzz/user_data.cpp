// SPDX-License-Identifier: LGPL-2.1-or-later
// User data in H.264, H.265 and AV1: a byte that names the format, the length of the data (16 bits), a UUID, the data, and a
// picture. A message that is written is found, and stands where the picture begins.
#include "gst-plugin/user_data.h"

#include <algorithm>

#include "fuzz.h"

namespace {

using namespace flowcache::gst;

constexpr UnitFormat formats[] = {{Codec::H264, 0}, {Codec::H264, 1}, {Codec::H264, 2}, {Codec::H264, 3},
                                  {Codec::H264, 4}, {Codec::H265, 0}, {Codec::H265, 1}, {Codec::H265, 2},
                                  {Codec::H265, 3}, {Codec::H265, 4}, {Codec::Av1, 0}};

// The shortest picture of the format.
std::vector<uint8_t> smallest_picture(UnitFormat format) {
  if (format.codec == Codec::Av1) return {6 << 3 | 2, 1, 0x80};
  std::vector<uint8_t> picture = {0, 0, 0, 1};
  if (format.length_bytes > 0) {
    picture.assign(format.length_bytes, 0);
    picture.back() = 3;
  }
  const std::vector<uint8_t> slice = format.codec == Codec::H264 ? std::vector<uint8_t>{0x65, 1, 0x80}
                                                                 : std::vector<uint8_t>{19 << 1, 1, 0x80};
  picture.insert(picture.end(), slice.begin(), slice.end());
  return picture;
}

bool has_start_code(std::span<const uint8_t> bytes) {
  for (size_t i = 0; i + 2 < bytes.size(); ++i)
    if (bytes[i] == 0 && bytes[i + 1] == 0 && bytes[i + 2] <= 2) return true;
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 19) return 0;
  std::span<const uint8_t> rest(data, size);
  const UnitFormat format = formats[rest[0] % std::size(formats)];
  const size_t length = std::min<size_t>(rest[1] | rest[2] << 8, size - 19);
  const auto uuid = rest.subspan(3, 16), message = rest.subspan(19, length),
             picture = rest.subspan(19 + length);

  has_user_data(picture, uuid, message, format);
  const auto place = place_of_user_data(picture, format);
  FUZZ_REQUIRE(!place || *place < picture.size());

  const std::vector<uint8_t> unit = user_data_unit(uuid, message, format);
  const bool short_prefix = format.length_bytes > 0 && format.length_bytes < 4;
  if (unit.empty()) {  // it has at most half as many bytes again, escaped
    FUZZ_REQUIRE(short_prefix && length * 2 + 64 >= size_t{1} << (8 * format.length_bytes));
    return 0;
  }
  FUZZ_REQUIRE(unit.size() > 16 + length);
  FUZZ_REQUIRE(has_user_data(unit, uuid, message, format));
  if (format.codec != Codec::Av1)
    FUZZ_REQUIRE(
        !has_start_code(std::span(unit).subspan(format.length_bytes == 0 ? 4 : format.length_bytes)));
  std::vector<uint8_t> stream = unit;
  const std::vector<uint8_t> slice = smallest_picture(format);
  stream.insert(stream.end(), slice.begin(), slice.end());
  FUZZ_REQUIRE(place_of_user_data(stream, format) == unit.size());
  return 0;
}
