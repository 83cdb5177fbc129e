// SPDX-License-Identifier: LGPL-2.1-or-later
// A model.json, and behind a NUL the index of shards that lies beside it as x.index.json: what reads a model before its
// weights, up to what its networks would take.
#include <filesystem>
#include <fstream>

#include "families/factory.h"
#include "families/family.h"
#include "families/preflight.h"
#include "package/files.h"
#include "refused.h"

namespace {

namespace fs = std::filesystem;

// A folder that goes when the program ends.
class Folder {
 public:
  Folder() {
    std::string name =
        (fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) / "fuzz-XXXXXX";
    FUZZ_REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  void write(const char* name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void inspect(const flowcache::ModelPackage& package, int64_t width, int64_t height) {
  using namespace flowcache;
  FUZZ_REQUIRE(package.width >= 16 && package.width <= 8192 && package.height >= 16 &&
               package.height <= 8192);
  FUZZ_REQUIRE(package.latent_width >= 1 && package.latent_height >= 1);
  FUZZ_REQUIRE(package.fps_n >= 1 && package.fps_d >= 1);
  FUZZ_REQUIRE(!package.name.empty() && package.name.size() < 64);
  for (const Pixels& good : package.sizes.good) {
    const PictureSize size = picture_size(package, good.width, good.height);
    FUZZ_REQUIRE(size.pixels == good && size.latent_width >= 1 && size.latent_height >= 1);
  }
  fuzz::refused([&] { at_size(package, width, height); });
  fuzz::refused([&] {
    for (const PackageFile& file : package_files(package)) {
      FUZZ_REQUIRE_WITH(!fs::path(file.name).is_absolute(), file.name);
      for (const fs::path& part : fs::path(file.name)) FUZZ_REQUIRE_WITH(part != "..", file.name);
    }
  });
  fuzz::refused([&] { check_files(package); });
  fuzz::refused([&] { package.weight_bytes(); });
  fuzz::refused([&] {
    const Family& family = family_of(package);
    const InitialFramesRule rule = family.initial_frames(package);
    FUZZ_REQUIRE(rule.noise >= 0 && rule.noise <= 1000);
    family.check_guidance(1);
  });
  fuzz::refused([&] { memory_needs(package, default_plan(package, 2, 2, true)); });
  fuzz::refused([&] { weight_sizes(package); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  static const Folder folder;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string_view model = fuzz::take_until(rest, '\0');
  folder.write("model.json", model);
  folder.write("x.index.json", rest);
  ModelPackage package;
  if (!fuzz::refused([&] { package = read_model(folder.path()); })) inspect(package, 512, 288);
  return 0;
}
