// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/weights_file.h"

#include <algorithm>
#include <set>

#include "package/bytes.h"
#include "package/deferred.h"
#include "package/gguf.h"
#include "package/mapping.h"
#include "package/torch_file.h"

namespace flowcache {
namespace {

bool in_8_bits(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  return type == at::kFloat8_e4m3fn || type == at::kFloat8_e5m2 || type == at::kChar;
}

// What a file seems to be that is none that is read; "" if it may be safetensors.
std::string other_kind(const Mapping& file) {
  constexpr uint64_t tar_mark = 257;
  if (file.begins_with("version https://git-lfs"))
    return "it is a pointer of Git LFS and not the file that it points to: run git lfs pull, or fetch it "
           "again";
  if (file.begins_with("<!DOCTYPE") || file.begins_with("<!doctype") || file.begins_with("<html"))
    return "it is a web page: the download was refused, or needs a login; fetch it again";
  // A tar archive, or a bare pickle: protocol 2 and the number that PyTorch puts in front.
  const bool tar = file.size() > tar_mark + 5 && file.text(tar_mark, 5) == "ustar";
  if (tar || file.begins_with("\x80\x02") || file.begins_with("\x80\x04"))
    return std::string("it is a ") + (tar ? "tar archive" : "bare pickle") +
           ", as PyTorch saved weights before version 1.6, and that form is not read: open it with PyTorch "
           "(torch.load, weights_only=True) and save it again (torch.save)";
  if (file.begins_with("\x1f\x8b") || file.begins_with("7z\xbc\xaf") || file.begins_with("Rar!") ||
      file.begins_with("\x28\xb5\x2f\xfd"))
    return "it is a packed archive: unpack it and name what is in it";
  if (file.begins_with("ggml") || file.begins_with("GGJT") || file.begins_with("tjgg"))
    return "it is an old ggml file; of these only GGUF is read";
  return "";
}

}  // namespace

WeightMap read_weights(const std::filesystem::path& file) {
  const auto mapping = std::make_shared<Mapping>(file);
  if (const std::string kind = other_kind(*mapping); !kind.empty())
    throw Error(FC_ERROR_MODEL, file.string() + ": " + kind);
  WeightMap weights = mapping->begins_with("PK\3\4") ? read_torch(mapping)
                      : mapping->begins_with("GGUF") ? read_gguf(mapping)
                                                     : read_safetensors(mapping);
  return weights;
}

void join_scales(WeightMap& weights, const std::string& what) {
  constexpr std::string_view unused[] = {"scaled_fp8", "spiece_model", "scale_input", "input_scale",
                                         "comfy_quant"};
  const auto last_word = [](const std::string& name) {
    return std::string_view(name).substr(name.rfind('.') + 1);  // npos + 1 is 0
  };
  bool scaled = false;
  for (auto it = weights.begin(); it != weights.end();) {
    const std::string_view word = last_word(it->first);
    scaled = scaled || word == "scaled_fp8";
    it = std::find(std::begin(unused), std::end(unused), word) != std::end(unused) ? weights.erase(it)
                                                                                   : std::next(it);
  }
  for (auto it = weights.begin(); it != weights.end();) {
    const std::string name = it->first;
    const std::string_view word = last_word(name);
    if (word != "scale_weight" && word != "weight_scale") {
      ++it;
      continue;
    }
    scaled = true;
    const at::Tensor scale = it->second;
    it = weights.erase(it);
    const auto found = weights.find(name.substr(0, name.size() - word.size()) + "weight");
    const auto fail = [&](const std::string& why) {
      throw Error(FC_ERROR_MODEL, what + ": " + in_quotes(name) + " " + why);
    };
    if (found == weights.end()) fail("is a scale of a weight that is not there; fetch the file again");
    at::Tensor& weight = found->second;
    if (!scale.is_floating_point() || in_8_bits(scale)) fail("is a scale of a type that is not known");
    // A scale of 1 beside a weight that is not quantized at all: exporters write it for every layer.
    if (!in_8_bits(weight) || weight.dim() == 0) {
      if (scale.numel() == 1 && scale.to(at::kFloat).item<float>() == 1) continue;
      fail("is a scale of a weight that is not in 8 bits");
    }
    if (scale.numel() == 1) {
      weight = scaled_weight(weight, scale.reshape({}), weight.sizes());
    } else if (scale.numel() == weight.size(0) && scale.size(0) == weight.size(0)) {
      std::vector<int64_t> rows(weight.dim(), 1);
      rows[0] = weight.size(0);
      weight = scaled_weight(weight, scale.reshape(rows), weight.sizes());
    } else {
      fail("has " + std::to_string(scale.numel()) + " values; one, or one for each of " +
           std::to_string(weight.size(0)) + " rows, is read, blocks with scales of their own are not");
    }
  }
  if (!scaled) return;
  for (const auto& [name, tensor] : weights)
    if (!tensor.is_meta() && in_8_bits(tensor) && tensor.is_floating_point())
      throw Error(FC_ERROR_MODEL,
                  what + ": " + in_quotes(name) +
                      " is in fp8 among scaled weights and has no scale; fetch the file again");
}

WeightMap under_key(WeightMap weights, const std::string& key, const std::string& what) {
  const std::string prefix = key + ".";
  WeightMap inner;
  std::set<std::string> known;
  for (auto& [name, tensor] : weights) {
    if (name.starts_with(prefix))
      inner.emplace(name.substr(prefix.size()), std::move(tensor));
    else if (known.size() < 8)
      known.insert(name.substr(0, name.find('.')));
  }
  if (!inner.empty()) return inner;
  std::string all;
  for (const std::string& one : known) all += (all.empty() ? "" : ", ") + in_quotes(one);
  throw Error(FC_ERROR_MODEL, what + ": there is no " + in_quotes(key) + " in it; it has " +
                                  (all.empty() ? "no tensors" : all) + ": correct \"key\" in model.json");
}

}  // namespace flowcache
