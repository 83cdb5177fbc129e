// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads little-endian figures one after the other, and never behind the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "package/strict_json.h"

namespace flowcache {

static_assert(std::endian::native == std::endian::little);

// A name out of a file, for messages: quoted, and cut if it is long.
inline std::string in_quotes(std::string_view name) {
  return shorten(nlohmann::json(std::string(name.substr(0, 1024))));
}

class Bytes {
 public:
  // fail: called where something is read behind the end; it must throw.
  using Fail = std::function<void(const std::string& why)>;
  Bytes(std::string_view data, Fail fail) : data_(data), fail_(std::move(fail)) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return data_.size() - at_; }
  std::string_view text(uint64_t bytes) {
    if (bytes > left())
      fail_("ends where " + std::to_string(bytes) + " more bytes are announced at byte " +
            std::to_string(at_));
    const std::string_view taken = data_.substr(at_, bytes);
    at_ += bytes;
    return taken;
  }
  void skip(uint64_t bytes) { text(bytes); }
  // What was already read.
  std::string_view between(uint64_t begin, uint64_t end) const { return data_.substr(begin, end - begin); }
  Bytes part(uint64_t bytes) { return {text(bytes), fail_}; }
  uint8_t u8() { return figure<uint8_t>(); }
  uint16_t u16() { return figure<uint16_t>(); }
  uint32_t u32() { return figure<uint32_t>(); }
  uint64_t u64() { return figure<uint64_t>(); }

 private:
  template <typename T>
  T figure() {
    T value;
    std::memcpy(&value, text(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view data_;
  uint64_t at_ = 0;
  Fail fail_;
};

}  // namespace flowcache
