// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/files.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "base/error.h"
#include "package/fields.h"
#include "package/strict_json.h"

namespace flowcache {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t max_index =
    64 << 20;  // bytes; the index of a checkpoint of a thousand layers has less than one megabyte

std::string model_json(const ModelPackage& package) {
  return (package.folder / "model.json").string();
}

constexpr size_t longest_name = 1024;  // bytes of a file's name
constexpr int most_shards = 10000;

bool leaves_folder(const std::string& file) {
  const fs::path path(file);
  bool leaves = path.is_absolute() || file.find('\0') != std::string::npos;
  for (const auto& part : path) leaves = leaves || part == "..";
  return leaves;
}

// The shards that an index names; each of them once.
std::vector<std::string> shards_of(const fs::path& index) {
  const auto bad = [&](const std::string& why) {
    throw Error(FC_ERROR_MODEL, index.string() + ": " + why + "; it is no safetensors index: fetch it again");
  };
  if (fs::file_size(index) > max_index) bad("it has more than 64 MB");
  std::ostringstream text;
  text << std::ifstream(index, std::ios::binary).rdbuf();
  json document;
  try {
    document = parse_strict_json(text.str());
  } catch (const std::exception& error) {
    bad(error.what());
  }
  if (!document.is_object() || !document.contains("weight_map") || !document["weight_map"].is_object())
    bad("it has no weight_map");
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : document["weight_map"].items()) {
    if (!shard.is_string() || shard.get_ref<const std::string&>().size() > longest_name ||
        leaves_folder(shard.get<std::string>()))
      bad("tensor " + shorten(tensor) + " is said to be in " + shorten(shard));
    shards.insert(shard.get<std::string>());
  }
  if (shards.empty()) bad("its weight_map is empty");
  return {shards.begin(), shards.end()};
}

// "model-00002-of-00005.safetensors" -> {"model-", 2, "-of-00005.safetensors", 5 digits, of 5}.
struct Shard {
  std::string stem, rest;
  int number = 0, total = 0;
  size_t digits = 0;

  std::string named(int i) const {
    std::string text = std::to_string(i);
    text.insert(0, digits - std::min(digits, text.size()), '0');
    return stem + text + rest;
  }
};

std::optional<Shard> numbered(const std::string& file) {
  const auto digits = [&](size_t at) {
    size_t end = at;
    while (end < file.size() && end - at < 6 && std::isdigit(static_cast<unsigned char>(file[end]))) ++end;
    return end - at;
  };
  const size_t of = file.rfind("-of-");
  if (of == std::string::npos || of == 0) return std::nullopt;
  const size_t dash = file.rfind('-', of - 1), total = digits(of + 4);
  if (dash == std::string::npos || total == 0 || of - dash - 1 == 0 || digits(dash + 1) != of - dash - 1)
    return std::nullopt;
  return Shard{file.substr(0, dash + 1), file.substr(of), std::stoi(file.substr(dash + 1, of - dash - 1)),
               std::stoi(file.substr(of + 4, total)), of - dash - 1};
}

// Of a numbered set of shards, all must be listed: the keys of the others would be reported missing one by
// one. The message names the first that are missing.
void check_shards(const std::vector<std::string>& files, const std::string& where) {
  std::map<std::pair<std::string, std::string>, std::pair<Shard, std::set<int>>> sets;
  for (const std::string& file : files)
    if (const auto shard = numbered(file)) {
      auto& [first, have] = sets[{shard->stem, shard->rest}];
      first = *shard;
      have.insert(shard->number);
    }
  for (const auto& [key, set] : sets) {
    const auto& [shard, have] = set;
    std::string missing;
    int left = 20;
    for (int i = 1; i <= shard.total; ++i) {
      if (have.contains(i)) continue;
      if (left-- == 0) {
        missing += ", …";
        break;
      }
      missing += (missing.empty() ? "" : ", ") + shard.named(i);
    }
    if (!missing.empty())
      throw Error(FC_ERROR_MODEL, where + " lists " + std::to_string(have.size()) + " of " +
                                      std::to_string(shard.total) + " shards; not listed: " + missing);
  }
}

std::string source_of(const ModelPackage& package, const std::string& section, const std::string& file) {
  const auto text = [](const json& source) { return source.is_string() ? source.get<std::string>() : ""; };
  if (!package.sources.is_object()) return "";
  if (package.sources.contains(file)) return text(package.sources[file]);
  for (const auto& [pattern, source] : package.sources.items())
    if (fnmatch(pattern.c_str(), file.c_str(), 0) == 0) return text(source);
  const std::string whole = section + " files";
  return package.sources.contains(whole) ? text(package.sources[whole]) : "";
}

}  // namespace

std::string first_shard(const std::string& file) {
  const auto shard = numbered(file);
  return shard ? shard->named(1) : "";
}

std::vector<std::string> section_files(const ModelPackage& package, const json& section,
                                       const std::string& name) {
  const Fields fields(section, model_json(package), name);
  std::vector<std::string> listed;
  if (fields.has("files")) {
    if (fields.has("file")) fields.fail("files", "either \"file\" or \"files\"");
    for (const json& one : section["files"].is_array() ? section["files"] : json::array({json()})) {
      if (!one.is_string() || one.get_ref<const std::string&>().empty() ||
          one.get_ref<const std::string&>().size() > longest_name)
        fields.fail("files", "a list of file names of at most " + std::to_string(longest_name) + " bytes");
      listed.push_back(one.get<std::string>());
    }
    if (listed.empty()) fields.fail("files", "at least one file name");
  } else {
    listed.push_back(fields.string("file", longest_name));
  }
  // One numbered shard as "file" stands for its whole set.
  if (const auto shard = numbered(listed.front()); shard && fields.has("file"))
    for (listed.clear(); listed.size() < static_cast<size_t>(std::min(shard->total, most_shards));)
      listed.push_back(shard->named(static_cast<int>(listed.size()) + 1));
  std::vector<std::string> files;
  for (const std::string& file : listed) {
    if (leaves_folder(file))
      fields.fail(fields.has("files") ? "files" : "file", "files inside the model's folder");
    std::error_code error;
    if (!file.ends_with(".index.json") || !fs::is_regular_file(package.folder / file, error)) {
      files.push_back(file);
      continue;
    }
    for (const std::string& shard : shards_of(package.folder / file))
      files.push_back((fs::path(file).parent_path() / shard).string());
  }
  check_shards(files, model_json(package) + ": " + name);
  return files;
}

std::vector<PackageFile> package_files(const ModelPackage& package) {
  std::vector<PackageFile> all;
  const auto add = [&](const std::string& section, const std::string& file) {
    PackageFile one{.section = section, .name = file, .source = source_of(package, section, file)};
    std::error_code error;
    one.bytes = fs::file_size(package.folder / file, error);
    one.present = !error;
    if (error) one.bytes = 0;
    all.push_back(std::move(one));
  };
  const auto add_section = [&](const json& section, const std::string& name) {
    for (const std::string& file : section_files(package, section, name)) add(name, file);
  };
  add_section(package.transformer, "transformer");
  for (const json& lora : package.transformer.value("loras", json::array()))
    add_section(lora, "transformer.loras");
  add_section(package.text, "text");
  const Fields text(package.text, model_json(package), "text");
  const auto add_named = [&](const char* field, std::optional<std::string> fallback) {
    const std::string file = text.string(field, 255, std::move(fallback));
    if (leaves_folder(file)) text.fail(field, "the name of a file in the model's folder");
    add("text", file);
  };
  if (text.string("kind", 63) != "words") add_named("tokenizer", "spiece.model");
  if (text.has("special_tokens")) add_named("special_tokens", std::nullopt);
  add_section(package.decoder, "decoder");
  if (package.encoder.is_object()) add_section(package.encoder, "encoder");
  return all;
}

void check_files(const ModelPackage& package) {
  if (package.random_weights) return;
  std::string missing;
  size_t count = 0;
  for (const PackageFile& file : package_files(package)) {
    if (file.present) continue;
    ++count;
    missing +=
        "\n  " + file.name + " (" + file.section + ")" + (file.source.empty() ? "" : ": from " + file.source);
  }
  if (count > 0)
    throw Error(FC_ERROR_NOT_FOUND, std::to_string(count) + (count == 1 ? " file" : " files") +
                                        " of the model in " + package.folder.string() +
                                        " cannot be found; put them there:" + missing);
}

}  // namespace flowcache
