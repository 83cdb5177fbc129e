// SPDX-License-Identifier: LGPL-2.1-or-later
#include "exif.h"

#include <gst/tag/tag.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

namespace flowcache::gst {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kMostBytes = 1 << 20;  // an EXIF block has at most 64 KiB in JPEG, a thumbnail included
constexpr std::string_view kExifMark("Exif\0\0", 6);

uint32_t big_endian(const uint8_t* bytes, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

/// The next bytes of a file; fewer at its end.
Bytes take(std::istream& in, uint32_t count) {
  Bytes bytes(std::min(count, kMostBytes));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(in.gcount()));
  return bytes;
}

Bytes without_mark(Bytes block) {
  if (block.size() >= kExifMark.size() && std::memcmp(block.data(), kExifMark.data(), kExifMark.size()) == 0)
    block.erase(block.begin(), block.begin() + kExifMark.size());
  return block;
}

/// JPEG: a segment APP1 that is marked as EXIF, in front of the picture's own segments.
Bytes block_of_jpeg(std::istream& in) {
  in.seekg(2);
  while (true) {
    const Bytes head = take(in, 4);
    if (head.size() < 4 || head[0] != 0xFF || head[1] == 0xDA) return {};
    const uint32_t length = big_endian(&head[2], 2);
    if (length < 2) return {};
    const auto next = in.tellg() + std::streamoff{length - 2};
    if (head[1] == 0xE1) {
      Bytes block = take(in, length - 2);
      Bytes tiff = without_mark(block);
      if (tiff.size() < block.size()) return tiff;
    }
    in.seekg(next);
  }
}

/// PNG: the chunk eXIf (PNG 3rd edition, 11.3.4.5).
Bytes block_of_png(std::istream& in) {
  in.seekg(8);
  while (true) {
    const Bytes head = take(in, 8);
    if (head.size() < 8) return {};
    const uint32_t length = big_endian(head.data(), 4);
    if (std::memcmp(&head[4], "eXIf", 4) == 0) return without_mark(take(in, length));
    in.seekg(std::streamoff{length} + 4, std::ios::cur);  // and its checksum
  }
}

/// WebP: the RIFF chunk EXIF (RFC 9649, 2.7.1.5).
Bytes block_of_webp(std::istream& in) {
  in.seekg(12);
  while (true) {
    const Bytes head = take(in, 8);
    if (head.size() < 8) return {};
    const uint32_t length =
        head[4] | uint32_t{head[5]} << 8 | uint32_t{head[6]} << 16 | uint32_t{head[7]} << 24;
    if (std::memcmp(head.data(), "EXIF", 4) == 0) return without_mark(take(in, length));
    in.seekg(std::streamoff{length} + length % 2, std::ios::cur);
  }
}

/// The TIFF structure that EXIF is.
Bytes exif_block(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const Bytes start = take(in, 12);
  if (start.size() < 12) return {};
  const auto begins = [&](std::string_view with, size_t at = 0) {
    return std::memcmp(start.data() + at, with.data(), with.size()) == 0;
  };
  if (begins("\xFF\xD8\xFF")) return block_of_jpeg(in);
  if (begins("\x89PNG")) return block_of_png(in);
  if (begins("RIFF") && begins("WEBP", 8)) return block_of_webp(in);
  return {};
}

}  // namespace

std::optional<GstVideoOrientationMethod> exif_orientation(const std::string& path) {
  const Bytes block = exif_block(path);
  if (block.size() < 8) return std::nullopt;
  GstBuffer* buffer = gst_buffer_new_memdup(block.data(), block.size());
  GstTagList* tags = gst_tag_list_from_exif_buffer_with_tiff_header(buffer);
  gst_buffer_unref(buffer);
  GstVideoOrientationMethod method = GST_VIDEO_ORIENTATION_IDENTITY;
  const bool found = tags != nullptr && gst_video_orientation_from_tag(tags, &method);
  if (tags != nullptr) gst_tag_list_unref(tags);
  return found ? std::optional(method) : std::nullopt;
}

}  // namespace flowcache::gst
