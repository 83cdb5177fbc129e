// SPDX-License-Identifier: LGPL-2.1-or-later
// A safetensors file: what is accepted can be read to its last byte, and comes back the same when it is written again.
#include "package/safetensors.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "refused.h"

namespace {

using flowcache::WeightMap;

const char* name_of(at::ScalarType type) {
  static const std::map<at::ScalarType, const char*> names = {{at::kFloat, "F32"},
                                                              {at::kBFloat16, "BF16"},
                                                              {at::kHalf, "F16"},
                                                              {at::kDouble, "F64"},
                                                              {at::kLong, "I64"},
                                                              {at::kInt, "I32"},
                                                              {at::kShort, "I16"},
                                                              {at::kChar, "I8"},
                                                              {at::kByte, "U8"},
                                                              {at::kBool, "BOOL"},
                                                              {at::kUInt16, "U16"},
                                                              {at::kUInt32, "U32"},
                                                              {at::kUInt64, "U64"},
                                                              {at::kFloat8_e4m3fn, "F8_E4M3"},
                                                              {at::kFloat8_e5m2, "F8_E5M2"}};
  const auto found = names.find(type);
  FUZZ_REQUIRE(found != names.end());
  return found->second;
}

std::string_view bytes_of(const at::Tensor& tensor) {
  FUZZ_REQUIRE(tensor.is_contiguous() && tensor.is_cpu());
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

std::string written(const WeightMap& weights) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : weights) {
    const size_t begin = data.size();
    data += bytes_of(tensor);
    header[name] = {{"dtype", name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + text + data;
}

bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && bytes_of(a) == bytes_of(b);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  static const fuzz::MemoryFile file, again;
  file.write(fuzz::text_of(data, size));
  WeightMap weights;
  if (fuzz::refused([&] { weights = read_safetensors(file.path()); })) return 0;
  size_t bytes = 0;
  for (const auto& [name, tensor] : weights) bytes += tensor.nbytes();
  FUZZ_REQUIRE(bytes <= size);
  const std::string copy = written(weights);
  if (copy.size() < 10) return 0;  // a header of two bytes, which nobody writes
  again.write(copy);
  const WeightMap second = read_safetensors(again.path());
  FUZZ_REQUIRE(second.size() == weights.size());
  std::vector<WeightSpec> wanted = {{.name = "a", .shape = {-1, 2}},
                                    {.name = "b", .shape = {}, .optional = true}};
  for (const auto& [name, tensor] : weights) {
    FUZZ_REQUIRE(second.contains(name) && same(tensor, second.at(name)));
    if (wanted.size() < 4) wanted.push_back({.name = name, .shape = tensor.sizes().vec()});
  }
  fuzz::refused([&] { check_weights(weights, wanted, "fuzz"); });
  return 0;
}
