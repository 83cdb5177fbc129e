// SPDX-License-Identifier: LGPL-2.1-or-later
// User data inside coded video, as bytes. H.264 (ITU-T H.264, D.1.7) and H.265 (ITU-T H.265, D.2.7): an SEI
// message "user data unregistered". AV1 (specification 1.0.0, 5.8 and 6.7.1): a metadata OBU of type 6, the
// first that is free for users; its payload is that of the SEI message: the UUID, then the data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flowcache::gst {

enum class Codec { H264, H265, Av1 };

// How the units of a stream are separated.
struct UnitFormat {
  Codec codec = Codec::H264;
  uint32_t length_bytes = 0;  // 1, 2 or 4: a length comes before each NAL unit; 0: a start code; 0 for AV1
};

// A whole unit. uuid: 16 bytes. Empty if its length does not fit the format's prefix.
std::vector<uint8_t> user_data_unit(std::span<const uint8_t> uuid, std::span<const uint8_t> data,
                                    UnitFormat format);

// True if these bytes already contain the message, in any unit.
bool has_user_data(std::span<const uint8_t> bytes, std::span<const uint8_t> uuid,
                   std::span<const uint8_t> data, UnitFormat format);

// The offset in a picture's bytes at which its user data must be inserted: before the first unit that codes
// the picture. Nothing if there is no such unit or the bytes are damaged.
std::optional<size_t> place_of_user_data(std::span<const uint8_t> picture, UnitFormat format);

}  // namespace flowcache::gst
