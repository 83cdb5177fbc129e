// SPDX-License-Identifier: LGPL-2.1-or-later
// H.264 supplemental enhancement information of type "user data unregistered" (ITU-T H.264, D.1.7), as bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flowcache::gst {

/// How NAL units follow each other.
struct NalFormat {
  uint32_t length_bytes = 0;  ///< 1, 2 or 4: each is prefixed by its length (avc); 0: by a start code
};

/// A whole SEI NAL unit with its prefix. uuid: 16 bytes. With length prefixes it must fit the length field.
std::vector<uint8_t> sei_user_data(std::span<const uint8_t> uuid, std::span<const uint8_t> data,
                                   NalFormat format);

/// Whether these bytes hold that message already, in whatever SEI NAL unit.
bool has_user_data(std::span<const uint8_t> bytes, std::span<const uint8_t> uuid,
                   std::span<const uint8_t> data);

/// Offset of the prefix of an access unit's first slice, in front of which SEI belongs; nothing if there is
/// none, or the bytes are damaged.
std::optional<size_t> first_slice(std::span<const uint8_t> access_unit, NalFormat format);

}  // namespace flowcache::gst
