// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/safetensors.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/error.h"
#include "package/mapping.h"
#include "package/strict_json.h"

namespace flowcache {
namespace {

using nlohmann::json;

constexpr uint64_t max_header = 100'000'000;  // the format's own limit
constexpr size_t max_rank = 16;

[[noreturn]] void damaged(const std::filesystem::path& file, const std::string& why) {
  throw Error(FC_ERROR_MODEL,
              file.string() + ": " + why + "; the file is damaged or not safetensors: fetch it again");
}

struct Dtype {
  const char* name;
  at::ScalarType type;
};
constexpr Dtype dtypes[] = {
    {"F32", at::kFloat},
    {"BF16", at::kBFloat16},
    {"F16", at::kHalf},
    {"F64", at::kDouble},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"U16", at::kUInt16},
    {"U32", at::kUInt32},
    {"U64", at::kUInt64},
};

std::optional<at::ScalarType> find_dtype(const std::string& name) {
  for (const Dtype& one : dtypes)
    if (name == one.name) return one.type;
  return std::nullopt;
}

std::string known_dtypes() {
  std::string all;
  for (const Dtype& one : dtypes) all += (all.empty() ? "" : ", ") + std::string(one.name);
  return all;
}

// Where one tensor lies in the data section. All checks are done that need no other tensor.
struct Entry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

class HeaderReader {
 public:
  HeaderReader(const std::filesystem::path& file, uint64_t data_size) : file_(file), data_size_(data_size) {}

  Entry entry(const std::string& name, const json& value) const {
    const auto bad = [&](const std::string& why) { damaged(file_, "tensor \"" + name + "\" " + why); };
    if (!value.is_object()) bad("is described by " + shorten(value) + ", not by an object");
    for (const char* field : {"dtype", "shape", "data_offsets"})
      if (!value.contains(field)) bad(std::string("has no ") + field);
    Entry out{.name = name};
    const json& dtype = value["dtype"];
    const auto type = dtype.is_string() ? find_dtype(dtype.get<std::string>()) : std::nullopt;
    if (!type) bad("has dtype " + shorten(dtype) + ", which is none of " + known_dtypes());
    out.dtype = *type;
    const json& shape = value["shape"];
    if (!shape.is_array() || shape.size() > max_rank || !all_counts(shape))
      bad("has shape " + shorten(shape) + "; wanted at most " + std::to_string(max_rank) +
          " sizes of 0 or more");
    out.shape = shape.get<std::vector<int64_t>>();
    const json& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2 || !all_counts(offsets))
      bad("has data_offsets " + shorten(offsets) + "; wanted [begin, end]");
    out.begin = offsets[0].get<uint64_t>();
    out.end = offsets[1].get<uint64_t>();
    if (out.begin > out.end || out.end > data_size_)
      bad("has data_offsets " + shorten(offsets) + ", but the file holds " + std::to_string(data_size_) +
          " bytes of data");
    const auto bytes = bytes_of_shape(out.shape, c10::elementSize(out.dtype));
    if (!bytes) bad("has shape " + shorten(shape) + ", more than any memory holds");
    if (*bytes != out.end - out.begin)
      bad("of shape " + shorten(shape) + " and dtype " + shorten(dtype) + " takes " + std::to_string(*bytes) +
          " bytes, but its data_offsets " + shorten(offsets) + " span " +
          std::to_string(out.end - out.begin));
    return out;
  }

 private:
  // Are all entries whole numbers, 0 or more, that fit into int64?
  static bool all_counts(const json& array) {
    return std::all_of(array.begin(), array.end(), [](const json& n) {
      return n.is_number_unsigned() && n.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    });
  }
  const std::filesystem::path& file_;
  uint64_t data_size_;
};

// The format forbids overlaps and holes: each byte of data belongs to exactly one tensor.
void check_coverage(const std::filesystem::path& file, std::vector<Entry> entries, uint64_t data_size) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t covered = 0;
  const Entry* before = nullptr;
  for (const Entry& one : entries) {
    if (one.begin < covered)
      damaged(file, "tensors \"" + before->name + "\" and \"" + one.name + "\" overlap: one ends at byte " +
                        std::to_string(covered) + ", the other begins at " + std::to_string(one.begin));
    if (one.begin > covered)
      damaged(file, "bytes " + std::to_string(covered) + " to " + std::to_string(one.begin) +
                        " of the data belong to no tensor");
    covered = one.end;
    before = &one;
  }
  if (covered != data_size)
    damaged(file, "the tensors take " + std::to_string(covered) + " bytes, but the file holds " +
                      std::to_string(data_size) + " bytes of data");
}

}  // namespace

WeightMap read_safetensors(const std::filesystem::path& file) {
  return read_safetensors(std::make_shared<Mapping>(file));
}

WeightMap read_safetensors(const std::shared_ptr<Mapping>& mapping) {
  const std::filesystem::path& file = mapping->file();
  if (mapping->size() < 10)
    damaged(file, "has " + std::to_string(mapping->size()) + " bytes, too few for a header");
  uint64_t header_size = 0;
  std::memcpy(&header_size, mapping->data(), 8);
  const uint64_t after_length = mapping->size() - 8;
  if (header_size > std::min(after_length, max_header))
    damaged(file, "says that its header has " + std::to_string(header_size) + " bytes, but " +
                      std::to_string(std::min(after_length, max_header)) + " is the most it can have");
  const auto* text = reinterpret_cast<const char*>(mapping->data() + 8);
  json header;
  try {
    header = parse_strict_json({text, header_size});
  } catch (const std::exception& error) {
    damaged(file, std::string("the header is not valid JSON: ") + error.what());
  }
  if (!header.is_object()) damaged(file, "the header is " + shorten(header) + ", not a JSON object");

  const uint64_t data_size = after_length - header_size;
  const HeaderReader reader(file, data_size);
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items())
    if (name != "__metadata__") entries.push_back(reader.entry(name, value));
  check_coverage(file, entries, data_size);

  WeightMap weights;
  for (const Entry& entry : entries)
    weights.emplace(entry.name, view_of(mapping, 8 + header_size + entry.begin, entry.shape, entry.dtype));
  return weights;
}

}  // namespace flowcache
