// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/model.h"

#include "base/error.h"
#include "package/card.h"
#include "package/fields.h"
#include "package/files.h"
#include "package/weights_file.h"

namespace flowcache {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view random_prefix = "random:";
constexpr size_t longest_prompt = 8192;  // bytes

fs::path model_json_of(const fs::path& given) {
  std::error_code error;
  if (given.empty()) throw Error(FC_ERROR_NOT_FOUND, "the model's path is empty; pass the folder of a model");
  if (fs::is_regular_file(given, error)) return given;
  if (!fs::is_directory(given, error))
    throw Error(FC_ERROR_NOT_FOUND, "no model at " + given.string() +
                                        ": there is no such folder; pass a folder with a model.json");
  if (!fs::exists(given / "model.json", error))
    throw Error(FC_ERROR_NOT_FOUND, "no model at " + given.string() + ": looked for " +
                                        (given / "model.json").string() +
                                        "; pass a folder with a model.json, which flowcache adopt writes for "
                                        "what was downloaded");
  return given / "model.json";
}

Fields::Names with_files(Fields::Names names) {
  names.insert(names.end(), {"file", "files", "key"});
  return names;
}

// The fields that model.json may have. Configs inside the sections are checked by the networks.
void check_names(const Fields& root, const OwnFields& own) {
  root.only({"name", "family", "description", "license", "video", "transformer", "text", "decoder", "encoder",
             "sampler", "cache", "sources", "clean_context", "prompts", "negative_prompt"});
  const Fields video = root.object("video");
  video.only({"width", "height", "framerate", "latent_frames_per_chunk", "frames_per_chunk", "sizes"});
  video.object("sizes", true).only({"least", "most", "good"});
  root.object("transformer").only(with_files({"config", "loras"}));
  root.object("text").only(with_files({"kind", "config", "tokenizer", "max_length", "device", "precision",
                                       "unload", "special_tokens", "vocabulary", "synonyms"}));
  root.object("decoder").only(with_files({"kind", "config", "seam_fade_frames", "latent_fade_frames"}));
  root.object("encoder", true).only(with_files({"kind", "config"}));
  Fields::Names sampler = {"kind",
                           "steps",
                           "lag",
                           "shift",
                           "guidance_scale",
                           "denoising_step_list",
                           "denoising_step_list_first_chunk",
                           "clean_context",
                           "prediction",
                           "timestep_scale",
                           "timestep_shift",
                           "warp_denoising_step"};
  if (own) {
    const Fields::Names more = own(root.string("family", 31));
    sampler.insert(sampler.end(), more.begin(), more.end());
  }
  root.object("sampler").only(sampler);
  root.object("cache", true)
      .only({"reuse", "threshold", "kv", "history_chunks", "trained_frames", "on_cut", "warmup", "live"});
}

void take(const ModelCard& card, ModelPackage& out) {
  out.name = card.name;
  out.family = card.family;
  out.description = card.description;
  out.license = card.license;
  out.width = card.width;
  out.height = card.height;
  out.fps_n = card.fps_n;
  out.fps_d = card.fps_d;
  out.latent_frames_per_chunk = card.latent_frames_per_chunk;
  out.frames_per_chunk = card.frames_per_chunk;
}

void read_latent_size(const Fields& root, ModelPackage& out) {
  const Fields video = root.object("video"), decoder = root.object("decoder");
  const Fields transformer = root.object("transformer").object("config");
  const LatentScales scales = latent_scales(decoder);
  out.sizes = read_sizes(root, {out.width, out.height});
  if (out.frames_per_chunk != out.latent_frames_per_chunk * scales.time)
    video.fail("frames_per_chunk", std::to_string(out.latent_frames_per_chunk * scales.time) + ": " +
                                       std::to_string(out.latent_frames_per_chunk) + " latent frames of " +
                                       std::to_string(scales.time) + " frames each");
  out.latent_width = out.width / scales.space;
  out.latent_height = out.height / scales.space;
  const LatentChannels channels = latent_channels(decoder);
  out.latent_channels = channels.count;
  if (transformer.integer("out_dim", 1, 1024, 16) != out.latent_channels)
    transformer.fail("out_dim",
                     std::to_string(channels.count) + ", as many as decoder.config." + channels.field);
}

// A few-step model's timesteps, as the authors' configurations have them. Some end with a 0, which is left out, with and
// without warp_denoising_step: the step before it returns the clean latent. CausVid's pipelines leave it out, too; Self-Forcing's
// and Krea's would call the network once more, on that latent with 0.5 % of noise (shift 5).
void check_denoising_steps(json& sampler, const char* list, const std::string& file) {
  if (!sampler.contains(list)) return;
  const Fields fields(sampler, file, "sampler");
  const std::vector<int64_t> steps = fields.integers(list, 0, 1000);
  const bool with_zero = steps.size() > 1 && steps.back() == 0;
  const size_t count = steps.size() - (with_zero ? 1 : 0);
  for (size_t i = 0; i < count; ++i)
    if (steps[i] < 1 || (i > 0 && steps[i] >= steps[i - 1]))
      fields.fail(list, "timesteps from 1 to 1000, each below the one before it; a 0 may end the list");
  if (count == 0) fields.fail(list, "at least one timestep");
  sampler[list] = std::vector<int64_t>(steps.begin(), steps.begin() + static_cast<ptrdiff_t>(count));
}

void check_sampler(const Fields& sampler) {
  sampler.string("kind", 63);
  const int64_t steps = sampler.integer("steps", 1, 1000);
  sampler.integer("lag", 0, steps, 0);
  sampler.number("shift", 1e-3, 1e3, 1.0);
  sampler.number("guidance_scale", 0, 50, 1.0);
}

void check_cache(const Fields& cache) {
  cache.string("reuse", 63, "none");
  cache.string("live", 63, "none");
  cache.string("kv", 63, "window");
  cache.number("threshold", 0, 10, 0.0);
  cache.integer("history_chunks", 1, 100000, 1);
  cache.integer("trained_frames", 1, 1 << 20, 1);
  if (const std::string on_cut = cache.string("on_cut", 63, "keep"); on_cut != "keep" && on_cut != "forget")
    cache.fail("on_cut", "keep or forget");
  cache.integer("warmup", 0, 1000, 0);
}

}  // namespace

ModelPackage read_package(const fs::path& given, const OwnFields& own) {
  const bool random = given.string().starts_with(random_prefix);
  const fs::path file = model_json_of(random ? fs::path(given.string().substr(random_prefix.size())) : given);
  json document = read_model_json(file);
  const Fields root(document, file.string(), "");
  check_names(root, own);
  ModelPackage out;
  take(read_card(root), out);
  out.folder = file.parent_path();
  out.random_weights = random;
  read_latent_size(root, out);
  check_sampler(root.object("sampler"));
  check_cache(root.object("cache", true));
  root.object("text").string("kind", 63);
  out.seam_fade_frames = root.object("decoder").integer("seam_fade_frames", 0, 1000, 0);
  out.latent_fade_frames = root.object("decoder").integer("latent_fade_frames", 0, 1000, 0);
  out.transformer = document["transformer"];
  out.text = document["text"];
  out.decoder = document["decoder"];
  if (document.contains("encoder")) out.encoder = document["encoder"];
  out.sampler = document["sampler"];
  for (const char* list : {"denoising_step_list", "denoising_step_list_first_chunk"})
    check_denoising_steps(out.sampler, list, file.string());
  out.negative_prompt = root.string("negative_prompt", longest_prompt, "");
  out.cache = document.value("cache", json::object());
  out.sources = document.value("sources", json::object());
  section_files(out, out.transformer, "transformer");
  section_files(out, out.text, "text");
  section_files(out, out.decoder, "decoder");
  if (out.encoder.is_object()) section_files(out, out.encoder, "encoder");
  out.clean_context = root.boolean("clean_context", root.object("sampler").boolean("clean_context", false));
  return out;
}

PictureSize picture_size(const ModelPackage& package, int64_t width, int64_t height) {
  if (width == 0 && height == 0)
    return {{package.width, package.height}, package.latent_width, package.latent_height};
  const Pixels size = checked_size(package.sizes, width, height);
  const int64_t across = package.width / package.latent_width, down = package.height / package.latent_height;
  return {size, size.width / across, size.height / down};
}

ModelPackage at_size(const ModelPackage& package, int64_t width, int64_t height) {
  const PictureSize size = picture_size(package, width, height);
  ModelPackage other = package;
  other.width = size.pixels.width;
  other.height = size.pixels.height;
  other.latent_width = size.latent_width;
  other.latent_height = size.latent_height;
  return other;
}

uint64_t ModelPackage::weight_bytes() const {
  if (random_weights) return 0;
  check_files(*this);
  uint64_t bytes = 0;
  for (const json& section : {transformer, text, decoder, encoder}) {
    if (!section.is_object()) continue;
    for (const std::string& file : section_files(*this, section, "file"))
      bytes += fs::file_size(folder / file);
  }
  return bytes;
}

uint64_t section_bytes(const ModelPackage& package, const json& section) {
  uint64_t values = 0;
  for (const auto& [name, tensor] : read_section(package, section)) values += tensor.numel();
  return 2 * values;
}

WeightMap read_section(const ModelPackage& package, const json& section) {
  WeightMap all;
  const std::vector<std::string> files = section_files(package, section, "file");
  for (const std::string& file : files) {
    WeightMap part = read_weights(package.folder / file);
    for (auto& [name, tensor] : part)
      if (!all.emplace(name, std::move(tensor)).second)
        throw Error(FC_ERROR_MODEL, (package.folder / file).string() + ": tensor \"" + name +
                                        "\" is in another file of the same section too; remove one");
  }
  const std::string what = (package.folder / files.front()).string();
  const std::string key =
      Fields(section, (package.folder / "model.json").string(), "").string("key", 255, "");
  if (!key.empty()) all = under_key(std::move(all), key, what);
  join_scales(all, what);
  return all;
}

}  // namespace flowcache
