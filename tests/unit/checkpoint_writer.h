// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes small checkpoints in the formats that are downloaded, so that tests need none of them.
#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "package/safetensors.h"

namespace flowcache::test {

template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

inline std::string bytes_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {static_cast<const char*>(flat.const_data_ptr()), flat.nbytes()};
}

inline std::string safetensors_of(const WeightMap& weights) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : weights) {
    const char* type = tensor.scalar_type() == at::kFloat8_e4m3fn ? "F8_E4M3"
                       : tensor.scalar_type() == at::kFloat       ? "F32"
                       : tensor.scalar_type() == at::kHalf        ? "F16"
                       : tensor.scalar_type() == at::kBFloat16    ? "BF16"
                                                                  : "U8";
    const std::string own = bytes_of(tensor);
    header[name] = {{"dtype", type},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {data.size(), data.size() + own.size()}}};
    data += own;
  }
  const std::string text = header.dump();
  return raw<uint64_t>(text.size()) + text + data;
}

// A zip archive whose files are stored as they are. method: what the archive says about how they are packed.
inline std::string zip_of(const std::vector<std::pair<std::string, std::string>>& files,
                          uint16_t method = 0) {
  std::string body, table;
  for (const auto& [name, bytes] : files) {
    const std::string figures = raw<uint16_t>(20) + raw<uint16_t>(0) + raw<uint16_t>(method) +
                                raw<uint32_t>(0) + raw<uint32_t>(0) +
                                raw<uint32_t>(static_cast<uint32_t>(bytes.size())) +
                                raw<uint32_t>(static_cast<uint32_t>(bytes.size())) +
                                raw<uint16_t>(static_cast<uint16_t>(name.size()));
    table += "PK\1\2" + raw<uint16_t>(20) + figures + std::string(12, '\0') +
             raw<uint32_t>(static_cast<uint32_t>(body.size())) + name;
    // An extra field that fills up to 64 bytes, as PyTorch aligns storages.
    const size_t padding = (64 - (body.size() + 30 + name.size()) % 64) % 64;
    body += "PK\3\4" + figures + raw<uint16_t>(static_cast<uint16_t>(padding)) + name +
            std::string(padding, 'Z') + bytes;
  }
  const auto count = static_cast<uint16_t>(files.size());
  return body + table + "PK\5\6" + raw<uint32_t>(0) + raw(count) + raw(count) +
         raw<uint32_t>(static_cast<uint32_t>(table.size())) +
         raw<uint32_t>(static_cast<uint32_t>(body.size())) + raw<uint16_t>(0);
}

// ---- pickles, of the opcodes that torch.save writes

inline std::string pickled(const std::string& text) {
  return std::string("X") + raw<uint32_t>(static_cast<uint32_t>(text.size())) + text;
}
inline std::string pickled(int64_t value) {
  return std::string("J") + raw<int32_t>(static_cast<int32_t>(value));
}
inline std::string pickled_global(const std::string& module, const std::string& name) {
  return std::string("c") + module + "\n" + name + "\n";
}
inline std::string pickled_tuple(at::IntArrayRef values) {
  std::string out = "(";
  for (const int64_t value : values) out += pickled(value);
  return out + "t";
}
inline std::string pickle_of(const std::string& body) {
  return std::string("\x80\x02") + body + ".";
}

// What torch.save writes for dicts of tensors, one inside of the other where a name has a '/'.
class TorchFile {
 public:
  void add(const std::string& name, const at::Tensor& tensor) {
    const char* type = tensor.scalar_type() == at::kHalf       ? "HalfStorage"
                       : tensor.scalar_type() == at::kBFloat16 ? "BFloat16Storage"
                                                               : "FloatStorage";
    const std::string key = std::to_string(storages_.size());
    storages_.push_back(bytes_of(tensor));
    add_value(name, pickled_global("torch._utils", "_rebuild_tensor_v2") + "((" + pickled("storage") +
                        pickled_global("torch", type) + pickled(key) + pickled("cpu") +
                        pickled(tensor.numel()) + "tQ" + pickled(0) + pickled_tuple(tensor.sizes()) +
                        pickled_tuple(tensor.contiguous().strides()) + "\x89" +
                        pickled_global("collections", "OrderedDict") + ")RtR");
  }
  void add_value(const std::string& name, const std::string& value) {
    const size_t slash = name.find('/');
    const std::string dict = slash == std::string::npos ? "" : name.substr(0, slash);
    entries_[dict] += pickled(slash == std::string::npos ? name : name.substr(slash + 1)) + value;
  }
  std::string pickle() const {
    std::string body = "}(";
    for (const auto& [dict, entries] : entries_)
      body += dict.empty() ? entries : pickled(dict) + "}(" + entries + "u";
    return pickle_of(body + "u");
  }
  std::string bytes() const {
    std::vector<std::pair<std::string, std::string>> files = {{"archive/data.pkl", pickle()},
                                                              {"archive/byteorder", "little"}};
    for (size_t i = 0; i < storages_.size(); ++i)
      files.emplace_back("archive/data/" + std::to_string(i), storages_[i]);
    return zip_of(files);
  }

 private:
  std::map<std::string, std::string> entries_;
  std::vector<std::string> storages_;
};

// ---- GGUF

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> sizes;  // the last dimension first, as in the file
  uint32_t type = 0;
  std::string data;
  uint64_t offset = UINT64_MAX;  // where the file says that it lies; UINT64_MAX: where it does
};

inline std::string gguf_text(const std::string& text) {
  return raw<uint64_t>(text.size()) + text;
}

inline std::string gguf_of(const std::vector<GgufTensor>& tensors, const std::vector<std::string>& notes = {},
                           uint64_t alignment = 32) {
  std::string head = "GGUF" + raw<uint32_t>(3) + raw<uint64_t>(tensors.size()) + raw<uint64_t>(notes.size());
  for (const std::string& note : notes) head += note;
  std::string data;
  for (const GgufTensor& one : tensors) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    head += gguf_text(one.name) + raw<uint32_t>(static_cast<uint32_t>(one.sizes.size()));
    for (const uint64_t size : one.sizes) head += raw(size);
    head += raw(one.type) + raw<uint64_t>(one.offset == UINT64_MAX ? data.size() : one.offset);
    data += one.data;
  }
  head.resize((head.size() + alignment - 1) / alignment * alignment);
  return head + data;
}

inline GgufTensor gguf_tensor(const std::string& name, const at::Tensor& tensor) {
  const uint32_t type = tensor.scalar_type() == at::kHalf       ? 1
                        : tensor.scalar_type() == at::kBFloat16 ? 30
                                                                : 0;
  GgufTensor out{.name = name, .sizes = {}, .type = type, .data = bytes_of(tensor)};
  for (int64_t i = tensor.dim(); i-- > 0;) out.sizes.push_back(static_cast<uint64_t>(tensor.size(i)));
  return out;
}

// Rows of a multiple of 32 values as Q8_0: the largest of a block is 127.
inline GgufTensor gguf_q8_0(const std::string& name, const at::Tensor& tensor) {
  GgufTensor out = gguf_tensor(name, tensor);
  out.type = 8;
  out.data.clear();
  const at::Tensor blocks = tensor.contiguous().view({-1, 32});
  const at::Tensor scale = (blocks.abs().amax({1}, true) / 127).to(at::kHalf);
  const at::Tensor whole =
      (blocks / scale.to(at::kFloat).clamp_min(1e-6)).round().clamp(-127, 127).to(at::kChar);
  for (int64_t i = 0; i < blocks.size(0); ++i) out.data += bytes_of(scale[i]) + bytes_of(whole[i]);
  return out;
}

}  // namespace flowcache::test
