// SPDX-License-Identifier: LGPL-2.1-or-later
#include "user_data.h"

namespace flowcache::gst::av1 {
namespace {

constexpr uint8_t kFrameHeader = 3, kMetadata = 5, kFrame = 6;  // obu_type
constexpr uint8_t kHasSize = 2, kHasExtension = 4;              // bits of an OBU's first byte
constexpr uint8_t kFirstPrivateType = 6;                        // metadata_type

void append_leb128(std::vector<uint8_t>& bytes, size_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<uint8_t>(value | 128));
  bytes.push_back(static_cast<uint8_t>(value));
}

/// Moves `at` behind the number. Nothing if it does not end.
std::optional<size_t> read_leb128(std::span<const uint8_t> bytes, size_t& at) {
  size_t value = 0;
  for (int i = 0; i < 8 && at < bytes.size(); ++i) {
    const uint8_t byte = bytes[at++];
    value |= static_cast<size_t>(byte & 127u) << (7 * i);
    if ((byte & 128u) == 0) return value;
  }
  return std::nullopt;
}

}  // namespace

std::vector<uint8_t> metadata_unit(std::span<const uint8_t> payload) {
  std::vector<uint8_t> unit = {kMetadata << 3 | kHasSize};
  append_leb128(unit, payload.size() + 2);
  unit.push_back(kFirstPrivateType);
  unit.insert(unit.end(), payload.begin(), payload.end());
  unit.push_back(0x80);  // trailing_bits()
  return unit;
}

std::optional<size_t> first_frame(std::span<const uint8_t> unit) {
  for (size_t at = 0; at < unit.size();) {
    const size_t begin = at;
    const uint8_t head = unit[at++], type = head >> 3 & 15;
    if (type == kFrame || type == kFrameHeader) return begin;
    if ((head & kHasExtension) != 0) ++at;
    if ((head & kHasSize) == 0) return std::nullopt;  // it is the last one, and no frame
    const auto size = read_leb128(unit, at);
    if (!size || at > unit.size() || *size > unit.size() - at) return std::nullopt;
    at += *size;
  }
  return std::nullopt;
}

}  // namespace flowcache::gst::av1
