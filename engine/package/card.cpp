// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/card.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "package/strict_json.h"

namespace flowcache {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t max_model_json = 16 << 20;  // bytes; the vocabulary of a word encoder is the largest part

std::string read_text(const fs::path& file) {
  std::error_code error;
  const uint64_t size = fs::file_size(file, error);
  if (!error && size > max_model_json)
    throw Error(FC_ERROR_MODEL, file.string() + " has " + std::to_string(size) +
                                    " bytes; a model.json has at most " + std::to_string(max_model_json));
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (error || !in || !(text << in.rdbuf()))
    throw Error(FC_ERROR_NOT_FOUND, file.string() + " cannot be read; pass the folder of a model");
  return text.str();
}

}  // namespace

nlohmann::json read_model_json(const fs::path& file) {
  const std::string text = read_text(file);
  try {
    return parse_strict_json(text);
  } catch (const std::exception& error) {
    throw Error(FC_ERROR_MODEL, file.string() + " is not valid JSON: " + error.what());
  }
}

ModelCard read_card(const Fields& root) {
  ModelCard card;
  card.name = root.string("name", 63);
  card.family = root.string("family", 31);
  card.description = root.string("description", 255, "");
  card.license = root.string("license", 255, "");
  const Fields video = root.object("video");
  card.width = video.integer("width", 16, 8192);
  card.height = video.integer("height", 16, 8192);
  card.latent_frames_per_chunk = video.integer("latent_frames_per_chunk", 1, 256);
  card.frames_per_chunk = video.integer("frames_per_chunk", 1, 4096);
  const std::string rate = video.string("framerate", 32);
  char rest = 0;
  if (std::sscanf(rate.c_str(), "%5ld/%5ld%c", &card.fps_n, &card.fps_d, &rest) != 2 || card.fps_n < 1 ||
      card.fps_d < 1 || card.fps_n > 1000 * card.fps_d)
    video.fail("framerate", "a fraction like \"16/1\", of at most 1000 frames a second");
  return card;
}

namespace {

// A folder of "models", in which `file` is; "" if none of the places has it.
std::string shipped(const fs::path& library, const char* folder, const char* file) {
  const std::vector<fs::path> places = {
      library / "../../models",                  // build/engine -> the checkout
      library / "../share/flowcache/models",     // PREFIX/lib
      library / "../../share/flowcache/models",  // PREFIX/lib/x86_64-linux-gnu
      FLOWCACHE_DATA_DIR "/models",
  };
  for (const fs::path& place : places) {
    std::error_code ignored;
    if (fs::exists(place / folder / file, ignored)) return fs::canonical(place / folder, ignored).string();
  }
  return "";
}

}  // namespace

std::string shipped_model(const fs::path& library) {
  // Taken even if it does not exist: the error then names it. Otherwise another model would be used silently.
  if (const char* named = std::getenv("FLOWCACHE_MODEL"); named && *named) return named;
  return shipped(library, "ambient", "model.json");
}

std::string shipped_templates(const fs::path& library) {
  return shipped(library, "templates", "self-forcing-1.3b.json");
}

}  // namespace flowcache
