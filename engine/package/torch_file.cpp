// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/torch_file.h"

#include <algorithm>
#include <array>
#include <optional>

#include "package/bytes.h"
#include "package/mapping.h"
#include "package/pickle.h"
#include "package/zip.h"

namespace flowcache {
namespace {

using Kind = PickleValue::Kind;

constexpr int deepest = 8;                // dicts inside each other
constexpr size_t most_tensors = 1 << 20;  // a checkpoint has some thousands
constexpr size_t most_dicts = 10'000;
constexpr size_t most_dimensions = 16;

struct StorageType {
  const char* name;
  at::ScalarType type;
};
constexpr StorageType storage_types[] = {
    {"DoubleStorage", at::kDouble},     {"FloatStorage", at::kFloat},  {"HalfStorage", at::kHalf},
    {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong},    {"IntStorage", at::kInt},
    {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},    {"ByteStorage", at::kByte},
    {"BoolStorage", at::kBool},         {"UntypedStorage", at::kByte},
};
constexpr StorageType value_types[] = {
    {"float64", at::kDouble},
    {"float32", at::kFloat},
    {"float16", at::kHalf},
    {"bfloat16", at::kBFloat16},
    {"int64", at::kLong},
    {"int32", at::kInt},
    {"int16", at::kShort},
    {"int8", at::kChar},
    {"uint8", at::kByte},
    {"bool", at::kBool},
    {"float8_e4m3fn", at::kFloat8_e4m3fn},
    {"float8_e5m2", at::kFloat8_e5m2},
};
// What else a file of weights names. The first five make tensors.
constexpr std::array functions = {"torch._utils._rebuild_tensor",
                                  "torch._utils._rebuild_tensor_v2",
                                  "torch._utils._rebuild_tensor_v3",
                                  "torch._utils._rebuild_parameter",
                                  "torch._utils._rebuild_parameter_with_state",
                                  "torch._tensor._rebuild_from_type_v2",
                                  "collections.OrderedDict",
                                  "torch.Size",
                                  "torch.device",
                                  "torch.Tensor",
                                  "torch.nn.parameter.Parameter"};

// The type that "torch.FloatStorage", "torch.storage.UntypedStorage" or "torch.float32" names.
template <size_t N>
std::optional<at::ScalarType> type_of(std::string_view global, const StorageType (&table)[N]) {
  for (const std::string_view module : {"torch.storage.", "torch."}) {
    if (!global.starts_with(module)) continue;
    for (const auto& [name, type] : table)
      if (global.substr(module.size()) == name) return type;
  }
  return std::nullopt;
}

bool is_weights_global(const std::string& global) {
  return std::find(functions.begin(), functions.end(), global) != functions.end() ||
         type_of(global, storage_types) || type_of(global, value_types);
}

struct Storage {
  at::ScalarType type = at::kByte;
  uint64_t begin = 0, bytes = 0;
};

class TorchReader {
 public:
  TorchReader(const std::shared_ptr<Mapping>& mapping, const std::map<std::string, ZipEntry>& files,
              const std::string& folder)
      : mapping_(mapping), files_(files), folder_(folder), name_(mapping->file().string()) {
    const ZipEntry& entry = files.at(folder + "data.pkl");
    pickle_ = read_pickle(mapping->text(entry.begin, entry.bytes), name_, is_weights_global);
  }

  WeightMap weights() {
    add(pickle_.root, "", 0);
    return std::move(weights_);
  }

 private:
  [[noreturn]] void damaged(const std::string& why) const {
    throw Error(FC_ERROR_MODEL, name_ + ": " + why + "; the file is damaged: fetch it again");
  }
  const PickleValue& at(uint32_t place) const { return pickle_[place]; }

  // A value that some function of PyTorch was to make a tensor of; else nothing.
  std::optional<at::Tensor> tensor(const PickleValue& value, int depth = 0) const {
    if (value.kind != Kind::call || depth > deepest) return std::nullopt;
    const PickleValue &callee = at(value.parts[0]), &arguments = at(value.parts[1]);
    if (callee.kind != Kind::global || arguments.kind != Kind::tuple) return std::nullopt;
    const std::vector<uint32_t>& given = arguments.parts;
    if (callee.text.starts_with("torch._utils._rebuild_parameter"))
      return given.empty() ? std::nullopt : tensor(at(given[0]), depth + 1);
    if (callee.text == "torch._tensor._rebuild_from_type_v2") {  // function, class, arguments, attributes
      if (given.size() < 3) return std::nullopt;
      PickleValue inner{.kind = Kind::call, .parts = {given[0], given[2]}};
      return tensor(inner, depth + 1);
    }
    if (!callee.text.starts_with("torch._utils._rebuild_tensor")) return std::nullopt;
    if (given.size() < 4)
      damaged("a tensor is made of " + std::to_string(given.size()) + " values, wanted 4 or more");
    std::optional<at::ScalarType> type;
    if (callee.text.ends_with("_v3")) {  // storage, offset, size, stride, gradient, hooks, type
      if (given.size() < 7 || !(type = type_of(at(given[6]).text, value_types)))
        damaged("a tensor has no type that is known");
    }
    return view(storage(at(given[0])), at(given[1]), numbers(at(given[2])), numbers(at(given[3])), type);
  }

  // ("storage", type, name of its file, where it was, number of elements)
  Storage storage(const PickleValue& value) const {
    if (value.kind != Kind::reference) damaged("a tensor has no storage");
    const PickleValue& id = at(value.parts[0]);
    if (id.kind != Kind::tuple || id.parts.size() < 5 || at(id.parts[0]).text != "storage" ||
        at(id.parts[1]).kind != Kind::global || at(id.parts[4]).kind != Kind::integer)
      damaged("a tensor's storage is described in an unknown way");
    const auto type = type_of(at(id.parts[1]).text, storage_types);
    if (!type) damaged("a tensor's storage has the type " + in_quotes(at(id.parts[1]).text));
    const std::string key = at(id.parts[2]).text;
    const auto found = files_.find(folder_ + "data/" + key);
    if (found == files_.end()) damaged("the storage " + in_quotes(key) + " is missing");
    const int64_t count = at(id.parts[4]).integer;
    const uint64_t element = c10::elementSize(*type);
    if (count < 0 || static_cast<uint64_t>(count) > found->second.bytes / element)
      damaged("the storage " + in_quotes(key) + " has " + std::to_string(found->second.bytes) +
              " bytes, too few for " + std::to_string(count) + " elements of " + std::to_string(element) +
              " bytes");
    return {*type, found->second.begin, static_cast<uint64_t>(count) * element};
  }

  std::vector<int64_t> numbers(const PickleValue& value) const {
    // A size may be torch.Size((…)).
    if (value.kind == Kind::call && at(value.parts[0]).text == "torch.Size" &&
        at(value.parts[1]).parts.size() == 1)
      return tuple(at(at(value.parts[1]).parts[0]));
    return tuple(value);
  }
  std::vector<int64_t> tuple(const PickleValue& value) const {
    if ((value.kind != Kind::tuple && value.kind != Kind::list) || value.parts.size() > most_dimensions)
      damaged("a tensor's sizes or strides are no list of at most " + std::to_string(most_dimensions) +
              " numbers");
    std::vector<int64_t> all;
    for (const uint32_t one : value.parts) {
      if (at(one).kind != Kind::integer || at(one).integer < 0)
        damaged("a tensor has a size or stride that is no number of 0 or more");
      all.push_back(at(one).integer);
    }
    return all;
  }

  at::Tensor view(const Storage& storage, const PickleValue& offset, const std::vector<int64_t>& shape,
                  const std::vector<int64_t>& strides, std::optional<at::ScalarType> given) const {
    const at::ScalarType type = given.value_or(storage.type);
    const uint64_t element = c10::elementSize(type), count = storage.bytes / element;
    const auto bytes = bytes_of_shape(shape, element);
    if (shape.size() != strides.size() || offset.kind != Kind::integer || offset.integer < 0)
      damaged("a tensor of " + std::to_string(shape.size()) + " sizes has " + std::to_string(strides.size()) +
              " strides and a begin that does not fit");
    if (!bytes || *bytes / element > count)
      damaged("a tensor has more elements than its storage of " + std::to_string(count));
    if (*bytes == 0) return at::empty(shape, at::TensorOptions(type));
    uint64_t last = static_cast<uint64_t>(offset.integer);
    bool fits = true;
    for (size_t i = 0; i < shape.size(); ++i) {
      uint64_t reach = 0;
      fits = fits &&
             !__builtin_mul_overflow(static_cast<uint64_t>(shape[i] - 1), static_cast<uint64_t>(strides[i]),
                                     &reach) &&
             !__builtin_add_overflow(last, reach, &last);
    }
    if (!fits || last >= count)
      damaged("a tensor reaches behind its storage of " + std::to_string(count) + " elements");
    return view_of(mapping_, storage.begin + static_cast<uint64_t>(offset.integer) * element, shape, type,
                   strides);
  }

  void add(uint32_t place, const std::string& name, int depth) {
    const PickleValue& value = at(place);
    if (const auto found = tensor(value)) {
      if (weights_.size() == most_tensors)
        damaged("it has more than " + std::to_string(most_tensors) + " tensors");
      if (!weights_.emplace(name.empty() ? "tensor" : name, *found).second)
        damaged("it has " + in_quotes(name) + " twice");
      return;
    }
    if (value.items.empty()) return;
    if (depth == deepest || ++dicts_ > most_dicts) damaged("its dicts are nested too deep");
    for (const auto& [key, item] : value.items) {
      const PickleValue& word = at(key);
      if (word.kind != Kind::text && word.kind != Kind::integer) continue;
      const std::string own = word.kind == Kind::text ? word.text : std::to_string(word.integer);
      if (own.size() > 4096) damaged("it has a name of " + std::to_string(own.size()) + " bytes");
      add(item, name.empty() ? own : name + "." + own, depth + 1);
    }
  }

  std::shared_ptr<Mapping> mapping_;
  const std::map<std::string, ZipEntry>& files_;
  std::string folder_, name_;
  Pickle pickle_;
  WeightMap weights_;
  size_t dicts_ = 0;
};

// An array of numpy: "\x93NUMPY", version, the length of a description, the description, the values.
at::Tensor read_array(const std::shared_ptr<Mapping>& mapping, const ZipEntry& entry,
                      const std::string& name) {
  const auto fail = [&](const std::string& why) {
    throw Error(FC_ERROR_MODEL, mapping->file().string() + ": array " + in_quotes(name) + " " + why +
                                    "; take the file of the checkpoint's authors");
  };
  Bytes in(mapping->text(entry.begin, entry.bytes), fail);
  if (in.text(6) != "\x93NUMPY") fail("is none of numpy's");
  const uint8_t version = in.u8();
  in.skip(1);
  const std::string text(in.text(version == 1 ? in.u16() : in.u32()));
  // {'descr': '<f4', 'fortran_order': False, 'shape': (9, 4096), }
  const auto behind = [&](const std::string& field) {
    const size_t at = text.find("'" + field + "':");
    if (at == std::string::npos) fail("has no " + field);
    return text.substr(std::min(text.size(), text.find_first_not_of(' ', at + field.size() + 3)));
  };
  constexpr StorageType kinds[] = {{"'<f8'", at::kDouble}, {"'<f4'", at::kFloat}, {"'<f2'", at::kHalf},
                                   {"'<i8'", at::kLong},   {"'<i4'", at::kInt},   {"'|u1'", at::kByte}};
  const std::string descr = behind("descr");
  const auto* kind = std::find_if(std::begin(kinds), std::end(kinds),
                                  [&](const StorageType& one) { return descr.starts_with(one.name); });
  if (kind == std::end(kinds))
    fail("has the type " + in_quotes(descr.substr(0, descr.find(','))) + ", which is no weight");
  if (!behind("fortran_order").starts_with("False")) fail("lies column by column");
  std::vector<int64_t> shape;
  const std::string sizes = behind("shape");
  const size_t end = sizes.find(')');
  if (!sizes.starts_with("(") || end == std::string::npos) fail("has no shape");
  for (size_t i = 1; i < end;) {
    const size_t digits = sizes.find_first_not_of("0123456789", i) - i;
    if (digits == 0 ? sizes[i] != ',' && sizes[i] != ' ' : digits > 18)
      fail("has the shape " + in_quotes(sizes.substr(0, end + 1)));
    if (digits > 0) shape.push_back(std::stoll(sizes.substr(i, digits)));
    i += std::max<size_t>(digits, 1);
  }
  const auto bytes = bytes_of_shape(shape, c10::elementSize(kind->type));
  if (shape.size() > most_dimensions || !bytes || *bytes != in.left())
    fail("has the shape " + in_quotes(sizes.substr(0, end + 1)) + " and " + std::to_string(in.left()) +
         " bytes");
  return view_of(mapping, entry.begin + in.at(), shape, kind->type);
}

}  // namespace

WeightMap read_torch(const std::shared_ptr<Mapping>& mapping) {
  const std::map<std::string, ZipEntry> files = read_zip(*mapping);
  std::vector<std::string> folders;
  WeightMap arrays;
  bool code = false;
  for (const auto& [name, entry] : files) {
    constexpr std::string_view pickle = "data.pkl", array = ".npy";
    if (name == pickle || name.ends_with("/data.pkl"))
      folders.push_back(name.substr(0, name.size() - pickle.size()));
    else if (name.ends_with(array))
      arrays.emplace(name.substr(0, name.size() - array.size()), read_array(mapping, entry, name));
    code = code || name.find("/code/") != std::string::npos || name.ends_with("constants.pkl");
  }
  const auto refuse = [&](const std::string& why) {
    throw Error(FC_ERROR_MODEL, mapping->file().string() + ": " + why);
  };
  if (code)
    refuse("it is a TorchScript program, whose weights are not read: save its state_dict() with torch.save");
  if (folders.empty() && !arrays.empty()) return arrays;
  if (folders.size() != 1)
    refuse("it is a zip archive with " + std::to_string(folders.size()) +
           " data.pkl in it, so not one that torch.save wrote; unpack it, and name the files in it");
  if (const auto order = files.find(folders[0] + "byteorder");
      order != files.end() && mapping->text(order->second.begin, order->second.bytes) != "little")
    refuse("it was written on a big-endian machine: save it again on another");
  return TorchReader(mapping, files, folders[0]).weights();
}

}  // namespace flowcache
