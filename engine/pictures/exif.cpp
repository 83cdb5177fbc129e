// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pictures/exif.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

namespace flowcache {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t most_bytes = 1 << 20;  // in JPEG an EXIF block has at most 64 KiB, with its thumbnail
constexpr std::string_view exif_mark("Exif\0\0", 6);

uint32_t number(const uint8_t* bytes, int count, bool big_endian = true) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[big_endian ? i : count - 1 - i];
  return value;
}

// Reads the next bytes of a file; fewer at its end.
Bytes take(std::istream& in, uint32_t count) {
  Bytes bytes(std::min(count, most_bytes));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(in.gcount()));
  return bytes;
}

Bytes without_mark(Bytes block) {
  if (block.size() >= exif_mark.size() && std::memcmp(block.data(), exif_mark.data(), exif_mark.size()) == 0)
    block.erase(block.begin(), block.begin() + exif_mark.size());
  return block;
}

// JPEG: a segment APP1 that is marked as EXIF, before the picture's own segments.
Bytes block_of_jpeg(std::istream& in) {
  in.seekg(2);
  while (true) {
    const Bytes head = take(in, 4);
    if (head.size() < 4 || head[0] != 0xFF || head[1] == 0xDA) return {};
    const uint32_t length = number(&head[2], 2);
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

// PNG: the chunk eXIf (PNG 3rd edition, 11.3.4.5).
Bytes block_of_png(std::istream& in) {
  in.seekg(8);
  while (true) {
    const Bytes head = take(in, 8);
    if (head.size() < 8) return {};
    const uint32_t length = number(head.data(), 4);
    if (std::memcmp(&head[4], "eXIf", 4) == 0) return without_mark(take(in, length));
    in.seekg(std::streamoff{length} + 4, std::ios::cur);  // the data and its checksum
  }
}

// WebP: the RIFF chunk EXIF (RFC 9649, 2.7.1.5).
Bytes block_of_webp(std::istream& in) {
  in.seekg(12);
  while (true) {
    const Bytes head = take(in, 8);
    if (head.size() < 8) return {};
    const uint32_t length = number(&head[4], 4, false);
    if (std::memcmp(head.data(), "EXIF", 4) == 0) return without_mark(take(in, length));
    in.seekg(std::streamoff{length} + length % 2, std::ios::cur);
  }
}

// The EXIF block, which is a TIFF structure.
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

int exif_orientation(const std::string& path) {
  constexpr uint32_t tag_orientation = 0x0112, type_short = 3, entry_bytes = 12;
  const Bytes block = exif_block(path);
  if (block.size() < 8) return 0;
  const bool big = block[0] == 'M' && block[1] == 'M';
  if (!big && (block[0] != 'I' || block[1] != 'I')) return 0;
  const size_t directory = number(&block[4], 4, big);
  if (number(&block[2], 2, big) != 42 || directory > block.size() - 2) return 0;
  const uint32_t entries = number(&block[directory], 2, big);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + static_cast<size_t>(i) * entry_bytes;
    if (at + entry_bytes > block.size()) return 0;
    const uint8_t* entry = &block[at];
    if (number(entry, 2, big) != tag_orientation) continue;
    const uint32_t value = number(entry + 8, 2, big);
    const bool known = number(entry + 2, 2, big) == type_short && number(entry + 4, 4, big) == 1;
    return known && value >= 1 && value <= 8 ? static_cast<int>(value) : 0;
  }
  return 0;
}

}  // namespace flowcache
