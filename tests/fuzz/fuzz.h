// SPDX-License-Identifier: LGPL-2.1-or-later
// What the targets share. A target is one file with LLVMFuzzerTestOneInput(); libFuzzer or standalone.cpp calls it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <typeinfo>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace flowcache::fuzz {

[[noreturn]] inline void broken(const char* property, const char* file, int line,
                                const std::string& more = "") {
  std::fprintf(stderr, "%s:%d: broken: %s%s%s\n", file, line, property, more.empty() ? "" : ": ",
               more.c_str());
  std::abort();
}

// What has to hold whatever the input is.
#define FUZZ_REQUIRE(condition) \
  ((condition) ? void() : ::flowcache::fuzz::broken(#condition, __FILE__, __LINE__))
#define FUZZ_REQUIRE_WITH(condition, more) \
  ((condition) ? void() : ::flowcache::fuzz::broken(#condition, __FILE__, __LINE__, more))

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Cuts the front off `rest`, up to the first `at`.
inline std::string_view take_until(std::string_view& rest, char at) {
  const size_t end = rest.find(at);
  const std::string_view front = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return front;
}

// A file that lives in memory, with a path that can be opened.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) { FUZZ_REQUIRE(descriptor_ >= 0); }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  void write(std::string_view bytes) const {
    FUZZ_REQUIRE(ftruncate(descriptor_, 0) == 0);
    FUZZ_REQUIRE(pwrite(descriptor_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace flowcache::fuzz
