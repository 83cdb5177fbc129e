// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/identity.h"

#include <glib.h>
#include <torch/version.h>

#include <array>
#include <fstream>
#include <memory>

#include "package/files.h"
#include "stream/device.h"

namespace flowcache {
namespace {

struct FreeChecksum {
  void operator()(GChecksum* sum) const { g_checksum_free(sum); }
};
using Checksum = std::unique_ptr<GChecksum, FreeChecksum>;

void add(const Checksum& sum, const void* bytes, size_t count) {
  g_checksum_update(sum.get(), static_cast<const guchar*>(bytes), static_cast<gssize>(count));
}
void add(const Checksum& sum, const std::string& text) {
  add(sum, text.data(), text.size() + 1);
}

void add_file(const Checksum& sum, const std::filesystem::path& path) {
  constexpr uint64_t pages = 64, page = 4096;
  std::error_code missing;
  const uint64_t size = std::filesystem::file_size(path, missing);
  if (missing) return;
  add(sum, std::to_string(size));
  std::ifstream file(path, std::ios::binary);
  std::array<char, page> bytes{};
  for (uint64_t i = 0; i < pages && i * page < size; ++i) {
    const uint64_t last = size > page ? size - page : 0;
    file.clear();
    file.seekg(static_cast<std::streamoff>(size <= pages * page ? i * page : last * i / (pages - 1)));
    file.read(bytes.data(), page);
    add(sum, bytes.data(), static_cast<size_t>(file.gcount()));
  }
}

}  // namespace

std::string digest_of(const ModelPackage& package) {
  const Checksum sum(g_checksum_new(G_CHECKSUM_SHA256));
  std::ifstream json(package.folder / "model.json", std::ios::binary);
  add(sum, std::string(std::istreambuf_iterator<char>(json), {}));
  add(sum, package.random_weights ? "random" : "files");
  if (!package.random_weights)
    for (const PackageFile& file : package_files(package)) {
      if (file.section == "text" || file.section == "decoder") continue;  // rank 0's alone
      add(sum, file.name);
      add_file(sum, package.folder / file.name);
    }
  return g_checksum_get_string(sum.get());
}

nlohmann::json identity_of(const LoadedModel& model) {
  return {{"the library's version", FLOWCACHE_VERSION},
          {"LibTorch's version", TORCH_VERSION},
          {"the model", model.package.name},
          {"the model's digest", digest_of(model.package)},
          {"the precision", name_of({model.compute, model.weights})},
          {"the precision of keys and values", model.kv_precision == KvPrecision::int8 ? "int8" : "full"}};
}

std::string difference(const nlohmann::json& own, const nlohmann::json& theirs) {
  for (const auto& [what, value] : own.items()) {
    const auto other = theirs.find(what);
    const std::string said = other == theirs.end() ? "unknown" : other->get<std::string>();
    if (said != value.get<std::string>())
      return what + " is " + value.get<std::string>() + " here and " + said + " there";
  }
  return "";
}

}  // namespace flowcache
