// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/gguf.h"

#include <algorithm>
#include <optional>

#include "package/bytes.h"
#include "package/deferred.h"
#include "package/mapping.h"

namespace flowcache {
namespace {

constexpr uint32_t q8_0 = 8, kind_text = 8, kind_array = 9, kind_u32 = 4;
constexpr int64_t q8_0_block = 32,
                  q8_0_bytes = 34;  // of Q8_0: a scale in fp16, and 32 whole numbers of 8 bits
constexpr size_t most_gguf_dimensions = 8;
constexpr int deepest_note = 4;  // arrays inside each other

// By their numbers in the file. A type that is not read has a name only.
struct GgufType {
  uint32_t number;
  const char* name;
  std::optional<at::ScalarType> read;
};
const GgufType gguf_types[] = {{0, "F32", at::kFloat},
                               {1, "F16", at::kHalf},
                               {2, "Q4_0", {}},
                               {3, "Q4_1", {}},
                               {6, "Q5_0", {}},
                               {7, "Q5_1", {}},
                               {8, "Q8_0", {}},
                               {9, "Q8_1", {}},
                               {10, "Q2_K", {}},
                               {11, "Q3_K", {}},
                               {12, "Q4_K", {}},
                               {13, "Q5_K", {}},
                               {14, "Q6_K", {}},
                               {15, "Q8_K", {}},
                               {16, "IQ2_XXS", {}},
                               {17, "IQ2_XS", {}},
                               {18, "IQ3_XXS", {}},
                               {19, "IQ1_S", {}},
                               {20, "IQ4_NL", {}},
                               {21, "IQ3_S", {}},
                               {22, "IQ2_S", {}},
                               {23, "IQ4_XS", {}},
                               {24, "I8", at::kChar},
                               {25, "I16", at::kShort},
                               {26, "I32", at::kInt},
                               {27, "I64", at::kLong},
                               {28, "F64", at::kDouble},
                               {29, "IQ1_M", {}},
                               {30, "BF16", at::kBFloat16},
                               {34, "TQ1_0", {}},
                               {35, "TQ2_0", {}},
                               {39, "MXFP4", {}}};

class GgufReader {
 public:
  explicit GgufReader(const std::shared_ptr<Mapping>& mapping)
      : mapping_(mapping),
        in_(mapping->text(0, mapping->size()), [this](const std::string& why) { damaged(why); }) {}

  WeightMap read() {
    in_.skip(4);
    const uint32_t version = in_.u32();
    if (version != 2 && version != 3)
      refuse("it is GGUF of version " + std::to_string(version) + "; 2 and 3 are read" +
             (version > 0xffff ? ", and no big-endian ones" : ""));
    const uint64_t tensors = in_.u64(), notes = in_.u64();
    // The least that a tensor and a note take.
    if (tensors > in_.left() / 24 || notes > in_.left() / 12)
      damaged("announces " + std::to_string(tensors) + " tensors and " + std::to_string(notes) +
              " notes in " + std::to_string(mapping_->size()) + " bytes");
    for (uint64_t i = 0; i < notes; ++i) read_note();
    for (uint64_t i = 0; i < tensors; ++i) read_entry();
    const uint64_t begin = (in_.at() + alignment_ - 1) / alignment_ * alignment_;
    WeightMap weights;
    for (const Entry& entry : entries_)
      if (!weights.emplace(entry.name, tensor(entry, begin)).second)
        damaged("has " + in_quotes(entry.name) + " twice");
    return weights;
  }

 private:
  struct Entry {
    std::string name;
    std::vector<int64_t> shape;  // as LibTorch has it; the file has the last size first
    uint32_t type = 0;
    uint64_t offset = 0;
  };

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(FC_ERROR_MODEL, mapping_->file().string() + ": " + why);
  }
  [[noreturn]] void damaged(const std::string& why) const {
    refuse(why + "; the GGUF file is damaged or was not downloaded to its end: fetch it again");
  }
  std::string text() { return std::string(in_.text(in_.u64())); }

  // Of the notes two matter: how data is aligned, and shapes of more dimensions than ggml has.
  void read_note() {
    const std::string name = text();
    const uint32_t kind = in_.u32();
    constexpr std::string_view shape = "comfy.gguf.orig_shape.";
    if (name == "general.alignment" && kind == kind_u32) {
      alignment_ = in_.u32();
      if (alignment_ == 0 || alignment_ % 8 != 0 || alignment_ > 1 << 20)
        damaged("aligns its data by " + std::to_string(alignment_));
    } else if (name.starts_with(shape) && kind == kind_array) {
      const uint32_t element = in_.u32();
      const uint64_t count = in_.u64();
      if ((element != kind_u32 && element != kind_u32 + 1) || count > most_gguf_dimensions)
        damaged("has an unknown shape in " + in_quotes(name));
      std::vector<int64_t>& sizes = shapes_[name.substr(shape.size())];
      sizes.clear();
      for (uint64_t i = 0; i < count; ++i) sizes.push_back(in_.u32());
    } else {
      skip_value(kind, 0);
    }
  }

  void skip_value(uint32_t kind, int depth) {
    constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (kind >= std::size(bytes) || depth > deepest_note)
      damaged("has a note of the unknown kind " + std::to_string(kind));
    if (kind == kind_text) return in_.skip(in_.u64());
    if (kind != kind_array) return in_.skip(bytes[kind]);
    const uint32_t element = in_.u32();
    const uint64_t count = in_.u64();
    if (element < std::size(bytes) && bytes[element] > 0) {
      if (count > in_.left() / bytes[element]) damaged("has a list of " + std::to_string(count) + " values");
      return in_.skip(count * bytes[element]);
    }
    if (count > in_.left() / 8) damaged("has a list of " + std::to_string(count) + " values");
    for (uint64_t i = 0; i < count; ++i) skip_value(element, depth + 1);
  }

  void read_entry() {
    Entry entry;
    entry.name = text();
    const uint32_t dimensions = in_.u32();
    if (dimensions > most_gguf_dimensions)
      damaged(in_quotes(entry.name) + " has " + std::to_string(dimensions) + " dimensions; " +
              std::to_string(most_gguf_dimensions) + " is the most");
    for (uint32_t i = 0; i < dimensions; ++i) {
      const uint64_t size = in_.u64();
      if (size > INT64_MAX) damaged(in_quotes(entry.name) + " has the size " + std::to_string(size));
      entry.shape.insert(entry.shape.begin(), static_cast<int64_t>(size));
    }
    entry.type = in_.u32();
    entry.offset = in_.u64();
    entries_.push_back(std::move(entry));
  }

  at::Tensor tensor(const Entry& entry, uint64_t data) const {
    const std::string name = in_quotes(entry.name);
    const auto* type = std::find_if(std::begin(gguf_types), std::end(gguf_types),
                                    [&](const GgufType& one) { return one.number == entry.type; });
    if (type == std::end(gguf_types) || (!type->read && entry.type != q8_0))
      refuse(name + " is stored as " +
             (type == std::end(gguf_types) ? "type " + std::to_string(entry.type) : std::string(type->name)) +
             "; F32, F16, BF16 and Q8_0 are read: take the file of one of these");
    std::vector<int64_t> shape = entry.shape;
    const auto values = bytes_of_shape(shape, 1);
    if (const auto given = shapes_.find(entry.name); given != shapes_.end()) {
      const auto same = bytes_of_shape(given->second, 1);
      if (!same || same != values) damaged(name + " has another number of values than its original shape");
      shape = given->second;
    }
    const bool quantized = entry.type == q8_0;
    const int64_t row = entry.shape.empty() ? 1 : entry.shape.back();
    if (quantized && row % q8_0_block != 0)
      damaged(name + " has rows of " + std::to_string(row) + " values, which Q8_0 cannot hold");
    std::optional<uint64_t> bytes;
    if (values && *values <= INT64_MAX / 64)
      bytes = quantized ? *values / q8_0_block * q8_0_bytes : *values * c10::elementSize(*type->read);
    if (!bytes) damaged(name + " has a shape that no memory holds");
    if (data > mapping_->size() || entry.offset > mapping_->size() - data ||
        *bytes > mapping_->size() - data - entry.offset)
      damaged(name + " has " + std::to_string(*bytes) + " bytes and reaches behind its end");
    const uint64_t begin = data + entry.offset;
    if (!quantized) return view_of(mapping_, begin, shape, *type->read);
    if (begin % 2 != 0) damaged(name + " begins at an odd byte");
    const int64_t rows = *values == 0 ? 0 : static_cast<int64_t>(*values) / row, blocks = row / q8_0_block;
    const at::Tensor whole = view_of(mapping_, begin + 2, {rows, blocks, q8_0_block}, at::kChar,
                                     {blocks * q8_0_bytes, q8_0_bytes, 1});
    const at::Tensor scale =
        view_of(mapping_, begin, {rows, blocks, 1}, at::kHalf, {blocks * q8_0_bytes / 2, q8_0_bytes / 2, 1});
    return scaled_weight(whole, scale, shape);
  }

  std::shared_ptr<Mapping> mapping_;
  Bytes in_;
  uint64_t alignment_ = 32;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::vector<Entry> entries_;
};

}  // namespace

WeightMap read_gguf(const std::shared_ptr<Mapping>& mapping) {
  return GgufReader(mapping).read();
}

}  // namespace flowcache
