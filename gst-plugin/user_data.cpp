// SPDX-License-Identifier: LGPL-2.1-or-later
#include "user_data.h"

#include <algorithm>

namespace flowcache::gst {

namespace {

// ---- AV1: OBUs

constexpr uint8_t kFrameHeader = 3, kMetadata = 5, kFrame = 6;  // obu_type
constexpr uint8_t kHasSize = 2, kHasExtension = 4;              // bits of an OBU's first byte
constexpr uint8_t kFirstPrivateType = 6;                        // metadata_type

void append_leb128(std::vector<uint8_t>& bytes, size_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<uint8_t>(value | 128));
  bytes.push_back(static_cast<uint8_t>(value));
}

// Reads a number and moves `at` past it. Returns nothing if the number has no end.
std::optional<size_t> read_leb128(std::span<const uint8_t> bytes, size_t& at) {
  size_t value = 0;
  for (int i = 0; i < 8 && at < bytes.size(); ++i) {
    const uint8_t byte = bytes[at++];
    value |= static_cast<size_t>(byte & 127u) << (7 * i);
    if ((byte & 128u) == 0) return value;
  }
  return std::nullopt;
}

std::vector<uint8_t> metadata_obu(std::span<const uint8_t> payload) {
  std::vector<uint8_t> unit = {kMetadata << 3 | kHasSize};
  append_leb128(unit, payload.size() + 2);
  unit.push_back(kFirstPrivateType);
  unit.insert(unit.end(), payload.begin(), payload.end());
  unit.push_back(0x80);  // trailing_bits()
  return unit;
}

std::optional<size_t> first_frame_obu(std::span<const uint8_t> unit) {
  for (size_t at = 0; at < unit.size();) {
    const size_t begin = at;
    const uint8_t head = unit[at++], type = head >> 3 & 15;
    if (type == kFrame || type == kFrameHeader) return begin;
    if ((head & kHasExtension) != 0) ++at;
    if ((head & kHasSize) == 0)
      return std::nullopt;  // such a unit is the last one, and this one is not a frame
    const auto size = read_leb128(unit, at);
    if (!size || at > unit.size() || *size > unit.size() - at) return std::nullopt;
    at += *size;
  }
  return std::nullopt;
}

// ---- H.264 and H.265: NAL units

constexpr uint8_t kUserDataUnregistered = 5;

// Appends the payload. Three bytes that look like a start code must not appear inside a NAL unit, so they
// are escaped.
void append_escaped(std::vector<uint8_t>& nal, std::span<const uint8_t> payload) {
  int zeros = 0;
  for (const uint8_t byte : payload) {
    if (zeros >= 2 && byte <= 3) {
      nal.push_back(3);
      zeros = 0;
    }
    nal.push_back(byte);
    zeros = byte == 0 ? zeros + 1 : 0;
  }
}

// nal_unit_type 6 of H.264, 39 (PREFIX_SEI_NUT) of H.265.
std::vector<uint8_t> sei_header(Codec codec) {
  return codec == Codec::H264 ? std::vector<uint8_t>{6} : std::vector<uint8_t>{39 << 1, 1};
}

bool is_slice(uint8_t nal_header, Codec codec) {
  const uint8_t type = codec == Codec::H264 ? nal_header & 0x1f : nal_header >> 1 & 0x3f;
  return codec == Codec::H264 ? type >= 1 && type <= 5 : type < 32;
}

std::optional<size_t> first_slice_after_start_code(std::span<const uint8_t> unit, Codec codec) {
  for (size_t i = 0; i + 3 < unit.size(); ++i) {
    if (unit[i] != 0 || unit[i + 1] != 0 || unit[i + 2] != 1) continue;
    if (is_slice(unit[i + 3], codec)) return i > 0 && unit[i - 1] == 0 ? i - 1 : i;
    i += 2;
  }
  return std::nullopt;
}

std::optional<size_t> first_slice_after_length(std::span<const uint8_t> unit, uint32_t length_bytes,
                                               Codec codec) {
  for (size_t at = 0; at + length_bytes < unit.size();) {
    size_t length = 0;
    for (uint32_t i = 0; i < length_bytes; ++i) length = length << 8 | unit[at + i];
    if (length == 0 || length > unit.size() - at - length_bytes) return std::nullopt;
    if (is_slice(unit[at + length_bytes], codec)) return at;
    at += length_bytes + length;
  }
  return std::nullopt;
}

std::vector<uint8_t> joined(std::span<const uint8_t> uuid, std::span<const uint8_t> data) {
  std::vector<uint8_t> all(uuid.begin(), uuid.end());
  all.insert(all.end(), data.begin(), data.end());
  return all;
}

// Without the stop bit behind it.
std::vector<uint8_t> sei_message(std::span<const uint8_t> uuid, std::span<const uint8_t> data) {
  std::vector<uint8_t> message = {kUserDataUnregistered};
  size_t size = uuid.size() + data.size();
  for (; size >= 255; size -= 255) message.push_back(255);
  message.push_back(static_cast<uint8_t>(size));
  message.insert(message.end(), uuid.begin(), uuid.end());
  message.insert(message.end(), data.begin(), data.end());
  return message;
}

bool contains(std::span<const uint8_t> bytes, std::span<const uint8_t> part) {
  return std::search(bytes.begin(), bytes.end(), part.begin(), part.end()) != bytes.end();
}

}  // namespace

bool has_user_data(std::span<const uint8_t> bytes, std::span<const uint8_t> uuid,
                   std::span<const uint8_t> data, UnitFormat format) {
  if (format.codec == Codec::Av1) return contains(bytes, joined(uuid, data));
  // It begins with a byte that is not 0, so that it is escaped the same way wherever it stands.
  std::vector<uint8_t> escaped;
  append_escaped(escaped, sei_message(uuid, data));
  return contains(bytes, escaped);
}

std::vector<uint8_t> user_data_unit(std::span<const uint8_t> uuid, std::span<const uint8_t> data,
                                    UnitFormat format) {
  if (format.codec == Codec::Av1) return metadata_obu(joined(uuid, data));
  std::vector<uint8_t> message = sei_message(uuid, data);
  message.push_back(0x80);  // the stop bit

  std::vector<uint8_t> nal = sei_header(format.codec);
  append_escaped(nal, message);
  std::vector<uint8_t> prefix = {0, 0, 0, 1};
  if (format.length_bytes > 0) {
    prefix.clear();
    if (nal.size() >> (8 * format.length_bytes) != 0) return {};
    for (uint32_t i = format.length_bytes; i-- > 0;)
      prefix.push_back(static_cast<uint8_t>(nal.size() >> (8 * i)));
  }
  nal.insert(nal.begin(), prefix.begin(), prefix.end());
  return nal;
}

std::optional<size_t> place_of_user_data(std::span<const uint8_t> picture, UnitFormat format) {
  if (format.codec == Codec::Av1) return first_frame_obu(picture);
  return format.length_bytes == 0 ? first_slice_after_start_code(picture, format.codec)
                                  : first_slice_after_length(picture, format.length_bytes, format.codec);
}

}  // namespace flowcache::gst
