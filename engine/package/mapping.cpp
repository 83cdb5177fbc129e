// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace flowcache {

Mapping::Mapping(const std::filesystem::path& file) : file_(file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    throw Error(FC_ERROR_NOT_FOUND, file.string() + " cannot be opened: " + std::strerror(errno));
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode))
    size_ = static_cast<uint64_t>(status.st_size);
  if (size_ > 0) {
    void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data != MAP_FAILED) data_ = static_cast<std::byte*>(data);
  }
  const int error = errno;
  ::close(descriptor);
  if (size_ > 0 && !data_)
    throw Error(FC_ERROR_MEMORY, file.string() + ": " + std::to_string(size_) +
                                     " bytes cannot be mapped: " + std::strerror(error));
}

Mapping::~Mapping() {
  if (data_) ::munmap(data_, size_);
}

void Mapping::release(uint64_t begin, uint64_t bytes) const {
  // Pages that other tensors have a part of go as well; these are read again, at most two.
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t first = begin / page * page;
  ::madvise(data_ + first, std::min(begin + bytes, size_) - first, MADV_DONTNEED);
}

std::optional<uint64_t> bytes_of_shape(const std::vector<int64_t>& shape, uint64_t element) {
  uint64_t bytes = element;
  bool empty = false;
  for (const int64_t n : shape) {
    empty = empty || n == 0;
    if (n == 0) continue;
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(n), &bytes) || bytes > INT64_MAX)
      return std::nullopt;
  }
  return empty ? 0 : bytes;
}

at::Tensor view_of(const std::shared_ptr<Mapping>& mapping, uint64_t begin, const std::vector<int64_t>& shape,
                   at::ScalarType type, const std::vector<int64_t>& strides) {
  const auto options = at::TensorOptions(type);
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return at::empty(shape, options);
  int64_t last = 0, step = 1;  // the last element that the view spans
  for (size_t i = shape.size(); i-- > 0;) {
    last += (shape[i] - 1) * (strides.empty() ? step : strides[i]);
    step *= shape[i];
  }
  auto* address = const_cast<std::byte*>(mapping->data() + begin);
  const size_t element = c10::elementSize(type), bytes = static_cast<size_t>(last + 1) * element;
  const auto keep = [mapping, begin, bytes](void*) { mapping->release(begin, bytes); };
  if (reinterpret_cast<uintptr_t>(address) % element == 0)
    return strides.empty() ? at::from_blob(address, shape, keep, options)
                           : at::from_blob(address, shape, strides, keep, options);
  const at::Tensor copy = at::empty({last + 1}, options);
  std::memcpy(copy.mutable_data_ptr(), address, bytes);
  return strides.empty() ? copy.view(shape) : copy.as_strided(shape, strides);
}

}  // namespace flowcache
