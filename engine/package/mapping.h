// SPDX-License-Identifier: LGPL-2.1-or-later
// A file of weights in memory without being read: tensors are views of its mapping.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace flowcache {

// A private read-only mapping of a file. It ends with the last tensor that uses it.
class Mapping {
 public:
  // Throws FC_ERROR_NOT_FOUND if the file cannot be opened, FC_ERROR_MEMORY if it cannot be mapped.
  explicit Mapping(const std::filesystem::path& file);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const std::filesystem::path& file() const { return file_; }
  const std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  // begin and bytes must lie in the file.
  std::string_view text(uint64_t begin, uint64_t bytes) const {
    return {reinterpret_cast<const char*>(data_) + begin, bytes};
  }
  bool begins_with(std::string_view start) const {
    return size_ >= start.size() && text(0, start.size()) == start;
  }
  // Says that these bytes are not needed soon: the process no longer counts them as its own memory. Whoever reads them
  // again gets them from the file.
  void release(uint64_t begin, uint64_t bytes) const;

 private:
  std::filesystem::path file_;
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

// The bytes that a tensor takes, but none if that is more than a file can have. Sizes of 0 are skipped in this, as
// they may hide an overflow, and LibTorch refuses a tensor whose other sizes overflow, because so do its strides.
std::optional<uint64_t> bytes_of_shape(const std::vector<int64_t>& shape, uint64_t element);

// A view of a mapping from byte `begin` on; a copy where elements are not aligned, because kernels need that. The
// caller has checked that it lies inside. strides: in elements; empty for contiguous ones. With the tensor the memory
// goes that its bytes take, so a file whose tensors are taken one after the other is never in memory as a whole.
at::Tensor view_of(const std::shared_ptr<Mapping>& mapping, uint64_t begin, const std::vector<int64_t>& shape,
                   at::ScalarType type, const std::vector<int64_t>& strides = {});

}  // namespace flowcache
