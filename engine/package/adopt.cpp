// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/adopt.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "package/bytes.h"
#include "package/card.h"
#include "package/files.h"
#include "package/magi_config.h"
#include "package/parts.h"
#include "package/wan_latents.h"
#include "package/weights_file.h"

namespace flowcache {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ordered = nlohmann::ordered_json;

constexpr int deepest_folder = 5;
constexpr size_t most_files = 1000;
constexpr uintmax_t largest_config = 1 << 20;  // bytes
constexpr const char* tokenizer_name = "spiece.model";

bool is_weights_file(const fs::path& file) {
  constexpr std::string_view ends[] = {".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf", ".npz"};
  return std::find(std::begin(ends), std::end(ends), file.extension()) != std::end(ends);
}

// One file, or a set of shards by its first one.
struct Found {
  fs::path file;
  std::vector<Part> parts;
};

class Search {
 public:
  void look_at(const fs::path& given) {
    std::error_code error;
    if (fs::is_directory(given, error)) return walk(given, 0);
    if (!fs::is_regular_file(given, error))
      throw Error(FC_ERROR_NOT_FOUND, given.string() + " is no file or folder; name what was downloaded");
    add(given, /*asked_for=*/true);
  }
  std::vector<Found> weights() {
    std::vector<Found> found;
    for (const auto& [first, files] : sets_) {
      WeightMap all;
      std::string trouble;
      for (const fs::path& file : files) try {
          all.merge(read_weights(file));
        } catch (const Error& error) {
          trouble = error.what();
        }
      Found one{.file = first, .parts = {}};
      if (!trouble.empty())
        one.parts = {{.kind = PartKind::unsupported, .what = trouble}};
      else
        try {
          one.parts = parts_of(std::move(all), first.string());
        } catch (const Error& error) {
          one.parts = {{.kind = PartKind::unsupported, .what = error.what()}};
        }
      found.push_back(std::move(one));
    }
    return found;
  }
  const std::vector<fs::path>& tokenizers() const { return tokenizers_; }
  // The configuration of MAGI-1's code that fits a network; nullptr if there is none.
  const json* magi_config(const Part& network) const {
    for (const json& one : magi_configs_) {
      const json& shape = one.at("model_config");
      if (shape.value("num_layers", json()) == network.config.value("num_layers", json()) &&
          shape.value("hidden_size", json()) == network.config.value("dim", json()))
        return &one;
    }
    return nullptr;
  }

 private:
  void walk(const fs::path& folder, int depth) {
    std::vector<fs::path> entries;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) entries.push_back(entry.path());
    std::sort(entries.begin(), entries.end());
    for (const fs::path& entry : entries) {
      if (entry.filename().string().starts_with(".")) continue;
      if (fs::is_directory(entry, error)) {
        if (depth < deepest_folder) walk(entry, depth + 1);
      } else {
        add(entry, /*asked_for=*/false);
      }
    }
  }
  void add(const fs::path& file, bool asked_for) {
    if (file.filename() == tokenizer_name) return tokenizers_.push_back(file);
    if (file.filename().string().ends_with("config.json")) {
      std::error_code error;
      json config = fs::file_size(file, error) <= largest_config ? read_magi_config(file) : json();
      if (!config.is_null()) magi_configs_.push_back(std::move(config));
      return;
    }
    if (!asked_for && !is_weights_file(file)) return;
    if (++count_ > most_files)
      throw Error(FC_ERROR_ARGUMENT, "there are more than " + std::to_string(most_files) +
                                         " files; name the model's own folder");
    const std::string first = first_shard(file.filename().string());
    sets_[file.parent_path() / (first.empty() ? file.filename() : fs::path(first))].push_back(file);
  }

  std::map<fs::path, std::vector<fs::path>> sets_;
  std::vector<fs::path> tokenizers_;
  std::vector<json> magi_configs_;
  size_t count_ = 0;
};

// ---- which model it is

std::string lower(std::string text) {
  for (char& c : text)
    c = c == '_' || c == ' ' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

struct Choice {
  std::string name, sure, why;
};

std::vector<std::string> template_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Words in a path that only one of several models of the same network has. The first one counts, so what is more exact
// stands first.
struct NamedModel {
  const char* word;
  const char* name;
};
constexpr NamedModel small_wan[] = {{"framewise-1step", "causal-forcing-framewise-1step-1.3b"},
                                    {"framewise-2step", "causal-forcing-framewise-2step-1.3b"},
                                    {"framewise", "causal-forcing-framewise-1.3b"},
                                    {"self-forcing-sid", "self-forcing-sid-1.3b"},
                                    {"self-forcing", "self-forcing-1.3b"},
                                    {"causal-forcing", "causal-forcing-1.3b"},
                                    {"longlive", "longlive-1.3b"},
                                    {"causvid", "causvid-1.3b"},
                                    {"autoregressive-checkpoint", "causvid-1.3b"},
                                    {"sfwan", "self-forcing-1.3b"},
                                    {"skyreels", "skyreels-v2-df-1.3b-540p"}};
constexpr NamedModel wan_22[] = {{"longlive", "longlive-2.0-5b"}};
constexpr NamedModel large_wan[] = {{"krea", "krea-realtime-14b"},
                                    {"14b-540p", "skyreels-v2-df-14b-540p"},
                                    {"14b-720p", "skyreels-v2-df-14b-720p"},
                                    {"model-00001-of-00012", "skyreels-v2-df-14b-540p"},
                                    {"model-00001-of-00006", "skyreels-v2-df-14b-720p"}};
// Models of the same network that other templates do not fit.
constexpr std::string_view others[] = {"krea",        "rolling-forcing", "longvideo", "reward-forcing",
                                       "longlive-2",  "longlive2",       "framewise", "frame-wise",
                                       "matrix-game", "fastwan",         "causalwan", "helios"};

template <size_t N>
Choice by_name(const NamedModel (&models)[N], const std::string& path, const std::string& network,
               const std::string& likely) {
  std::string name, word;
  for (const NamedModel& one : models)
    if (name.empty() && path.find(one.word) != std::string::npos) name = one.name, word = one.word;
  for (const std::string_view other : others)
    if (path.find(other) != std::string::npos && name.find(other) == std::string::npos)
      return {name.empty() ? likely : name, "a guess",
              network + "; " + in_quotes(other) +
                  " is in its path, for which there is no template of this size: its schedule may differ"};
  if (!name.empty()) return {name, "by its name", network + ", and its path says " + in_quotes(word)};
  return {likely, "a guess",
          network + ", of which there are several with the same keys and shapes, and no name says which"};
}

Choice choice_of(const Found& found, const Part& part, const json* magi_config) {
  const int64_t layers = part.config.value("num_layers", int64_t{0});
  const std::string path = lower(fs::absolute(found.file).string());
  if (part.kind == PartKind::magi) {
    const std::string size = layers > 40 ? "24b" : "4.5b";
    if (magi_config) {
      const bool distilled = magi_config->at("engine_config").value("distill", false);
      return {"magi-1-" + size + (distilled ? "-distill" : "-base"), "by its keys",
              part.what + "; the configuration beside it says that it is " +
                  (distilled ? "distilled" : "not distilled")};
    }
    const bool distilled = path.find("distill") != std::string::npos,
               base = path.find("base") != std::string::npos;
    return {"magi-1-" + size + (base && !distilled ? "-base" : "-distill"),
            distilled || base ? "by its name" : "a guess",
            part.what + "; base and distilled have the same keys"};
  }
  if (part.skyreels)
    return {"skyreels-v2-df-1.3b-540p", "by its keys", part.what + ", which no other model is"};
  if (part.config.value("dim", int64_t{0}) >= 5120)
    return by_name(large_wan, path, part.what, "skyreels-v2-df-14b-540p");
  if (part.config.value("out_dim", int64_t{0}) == 48)
    return by_name(wan_22, path, part.what, "longlive-2.0-5b");
  return by_name(small_wan, path, part.what, "self-forcing-1.3b");
}

// Of the copies of a network in a file, the one that is played: what "key" names, else the average of a training, else
// its generator.
const Part* played(const Found& found, const std::string& key) {
  const auto under = [&](const std::string& word) -> const Part* {
    for (const Part& part : found.parts)
      if (part.prefix.starts_with(word + ".")) return &part;
    return nullptr;
  };
  if (found.parts.size() == 1) return &found.parts[0];
  for (const std::string& word : {key, std::string("generator_ema"), std::string("generator")})
    if (const Part* part = word.empty() ? nullptr : under(word)) return part;
  return &found.parts[0];
}

bool is_transformer(const Part& part) {
  return part.kind == PartKind::wan || part.kind == PartKind::magi;
}

ordered read_template(const fs::path& folder, const std::string& name) {
  const std::vector<std::string> known = template_names(folder);
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    std::string all;
    for (const std::string& one : known) all += (all.empty() ? "" : ", ") + one;
    throw Error(FC_ERROR_ARGUMENT, "there is no template " + in_quotes(name) + "; there are " +
                                       (all.empty() ? "none in " + folder.string() : all));
  }
  read_model_json(folder / (name + ".json"));  // says what is wrong with it
  return ordered::parse(std::ifstream(folder / (name + ".json")));
}

// ---- the model's folder

class Folder {
 public:
  explicit Folder(const Adoption& how) {
    std::set<fs::path> folders;
    for (const fs::path& given : how.given)
      folders.insert(fs::is_directory(given)   ? given
                     : given.has_parent_path() ? given.parent_path()
                                               : fs::path("."));
    if (how.to.empty() && folders.size() != 1)
      throw Error(FC_ERROR_ARGUMENT, "the files lie in " + std::to_string(folders.size()) +
                                         " folders; say with --to where the model's own folder shall be");
    path_ = how.to.empty() ? *folders.begin() : how.to;
    std::error_code error;
    fs::create_directories(path_, error);
    if (!fs::is_directory(path_))
      throw Error(FC_ERROR_ARGUMENT, path_.string() + " cannot be made: " + error.message());
    if (fs::exists(path_ / "model.json") && !how.replace)
      throw Error(FC_ERROR_ARGUMENT,
                  (path_ / "model.json").string() +
                      " is there already; flowcache inspect describes it, --replace writes it anew");
  }
  const fs::path& path() const { return path_; }

  // The name of a file in model.json. What lies outside gets a link in the folder.
  std::string name_of(const fs::path& file) const {
    std::error_code error;
    const fs::path own = fs::absolute(file).lexically_normal(), base = fs::absolute(path_).lexically_normal();
    const fs::path relative = own.lexically_relative(base / "");
    if (!relative.empty() && *relative.begin() != "..") return relative.string();
    const std::string first = file.filename().string();
    for (const auto& entry : fs::directory_iterator(own.parent_path())) {
      const std::string name = entry.path().filename().string();
      if (name != first && first_shard(name) != first) continue;
      const fs::path link = path_ / name;
      if (fs::is_symlink(link)) fs::remove(link, error);
      if (fs::exists(link, error))
        throw Error(FC_ERROR_ARGUMENT, link.string() + " is there already and is another file than " +
                                           entry.path().string() + "; choose another folder");
      fs::create_symlink(entry.path(), link, error);
      if (error) throw Error(FC_ERROR_ARGUMENT, link.string() + " cannot be made: " + error.message());
    }
    return first;
  }

 private:
  fs::path path_;
};

// The config.json beside a file; null if there is none.
json config_beside(const fs::path& file) {
  const fs::path config = file.parent_path() / "config.json";
  std::error_code error;
  if (!fs::is_regular_file(config, error) || fs::file_size(config, error) > largest_config) return nullptr;
  return json::parse(std::ifstream(config), nullptr, /*allow_exceptions=*/false);
}

// The heads of a transformer are not in its shapes, but may be in such a file.
std::optional<int64_t> heads_beside(const fs::path& file) {
  const json document = config_beside(file);
  for (const char* field : {"num_heads", "num_attention_heads"})
    if (document.is_object() && document.contains(field) && document[field].is_number_unsigned())
      return document[field].get<int64_t>();
  return std::nullopt;
}

void set_transformer(ordered& section, const Found& found, const Part& part, const std::string& name,
                     bool several) {
  section.erase("files");
  section["file"] = name;
  section.erase("key");
  if (several) section["key"] = part.prefix.substr(0, part.prefix.find('.'));
  if (part.kind != PartKind::wan) return;
  ordered& config = section["config"];
  const int64_t before = config.value("dim", int64_t{0});
  for (const auto& [field, value] : part.config.items()) config[field] = value;
  const int64_t dim = part.config.at("dim");
  if (const auto heads = heads_beside(found.file))
    config["num_heads"] = *heads;
  else if (dim != before)
    config["num_heads"] = std::max<int64_t>(1, dim / 128);  // as in every published size
  if (config.contains("inject_sample_info")) config["inject_sample_info"] = part.skyreels;
}

// What decoder.kind calls a part; nullptr if it is no decoder.
const char* decoder_kind(const Part& part) {
  switch (part.kind) {
    case PartKind::taehv:
      return "taehv";
    case PartKind::magi_vae:
      return "magi_vae";
    case PartKind::wan_vae:
      return "wan_vae";
    case PartKind::wan22_vae:
      return "wan22_vae";
    default:
      return nullptr;
  }
}

void set_decoder(ordered& section, const Found& found, const Part& part, const std::string& name) {
  section["file"] = name;
  const char* kind = decoder_kind(part);
  if (section.value("kind", "") != kind) section["config"] = ordered::object();
  section["kind"] = kind;
  ordered& config = section["config"];
  for (const auto& [field, value] : part.config.items()) config[field] = value;
  // MAGI-1's shapes do not tell its heads.
  if (const json beside = config_beside(found.file);
      part.kind == PartKind::magi_vae && beside.is_object() && beside.contains("ddconfig"))
    config["ddconfig"] = beside["ddconfig"];
  // LightX2V's decoders are for the VAEs' own latents, which their keys do not tell.
  if (part.kind != PartKind::taehv) return;
  if (lower(name).find("lighttaew2-1") != std::string::npos) {
    config["latents_mean"] = wan_latents_mean;
    config["latents_std"] = wan_latents_std;
  }
  if (lower(name).find("lighttaew2-2") != std::string::npos) {
    config["latents_mean"] = wan22_latents_mean;
    config["latents_std"] = wan22_latents_std;
  }
}

// Whether the transformer's latents have as many channels as the decoder's. MAGI-1's parts do not say.
bool fits(const Part& decoder, const Part& network) {
  const json& own = decoder.config;
  const int64_t channels = own.value("latent_channels", own.value("z_dim", int64_t{0}));
  return channels == network.config.value("out_dim", int64_t{0});
}

void set_text(ordered& section, const Part& part, const std::string& name) {
  section["file"] = name;
  section.erase("files");
  const bool same_kind = section["config"].contains("d_model") == part.config.contains("d_model");
  if (!same_kind) section["config"] = ordered::object();
  for (const auto& [field, value] : part.config.items()) section["config"][field] = value;
}

// ComfyUI's copy of the tokenizer, as a file of its own.
void write_tokenizer(const fs::path& from, const fs::path& to) {
  const WeightMap weights = read_weights(from);
  const at::Tensor bytes = weights.at("spiece_model").contiguous();
  std::ofstream(to, std::ios::binary)
      .write(static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::streamsize>(bytes.nbytes()));
}

}  // namespace

json adopt(const Adoption& how) {
  if (how.given.empty()) throw Error(FC_ERROR_ARGUMENT, "name a folder, or files");
  Search search;
  for (const fs::path& given : how.given) search.look_at(given);
  const std::vector<Found> found = search.weights();

  const Found* transformer = nullptr;
  std::string others;
  for (const Found& one : found)
    if (std::any_of(one.parts.begin(), one.parts.end(), is_transformer)) {
      if (transformer) others += ", " + one.file.string();
      if (!transformer) transformer = &one;
    }
  if (!others.empty())
    throw Error(FC_ERROR_MODEL, "there are several transformers: " + transformer->file.string() + others +
                                    "; name the files of one model, and with --to a folder for it");
  if (!transformer) {
    std::string seen;
    for (const Found& one : found) seen += "\n  " + one.file.string() + ": " + one.parts[0].what;
    throw Error(FC_ERROR_MODEL, "there is no transformer that is known here" +
                                    (seen.empty() ? "; no file of weights was found" : ":" + seen));
  }
  const json* magi_config = search.magi_config(*played(*transformer, ""));
  Choice choice = choice_of(*transformer, *played(*transformer, ""), magi_config);
  if (!how.as.empty()) choice = {how.as, "as you say", played(*transformer, "")->what};
  ordered model = read_template(how.templates, choice.name);
  const bool is_magi = model.at("family") == "magi";
  const Part& network = *played(*transformer, model["transformer"].value("key", ""));
  if (is_magi != (network.kind == PartKind::magi))
    throw Error(FC_ERROR_MODEL, transformer->file.string() + " holds a " + network.what + ", which " +
                                    in_quotes(choice.name) + " is not");

  if (is_magi && magi_config) take_magi_config(model, *magi_config);

  const Folder folder(how);
  json parts = json::array(), unused = json::array();
  const auto take = [&](const Found& one, const Part& part) {
    parts.push_back({{"what", part.what}, {"file", one.file.string()}, {"layout", part.layout}});
    return folder.name_of(one.file);
  };
  set_transformer(model["transformer"], *transformer, network, take(*transformer, network),
                  transformer->parts.size() > 1);
  const Found* text = nullptr;
  const auto decodes = [&](const Part& part) {
    return decoder_kind(part) &&
           (part.kind == PartKind::taehv || is_magi == (part.kind == PartKind::magi_vae));
  };
  // The first one that fits, but rather the one that the template names.
  const Found* decoder = nullptr;
  const std::string own_decoder = model["decoder"].value("file", "");
  for (const Found& one : found)
    if (&one != transformer && decodes(one.parts[0]) && (is_magi || fits(one.parts[0], network)) &&
        (!decoder || one.file.filename() == fs::path(own_decoder).filename()))
      decoder = &one;
  ordered loras = model["transformer"].value("loras", ordered::array());
  for (const Found& one : found) {
    if (&one == transformer) continue;
    const Part& part = one.parts[0];
    const PartKind wanted_text = is_magi ? PartKind::t5 : PartKind::umt5;
    const bool is_decoder = decodes(part), fitting = !is_decoder || is_magi || fits(part, network);
    const auto lora = std::find_if(loras.begin(), loras.end(), [&](const ordered& own) {
      return part.kind == PartKind::lora && fs::path(own.value("file", "")).filename() == one.file.filename();
    });
    if (part.kind == wanted_text && !text) {
      text = &one;
      set_text(model["text"], part, take(one, part));
    } else if (&one == decoder) {
      set_decoder(model["decoder"], one, part, take(one, part));
    } else if (lora != loras.end()) {
      (*lora)["file"] = take(one, part);
    } else if (part.kind == PartKind::special_tokens && is_magi) {
      model["text"]["special_tokens"] = take(one, part);
    } else {
      std::string what = part.what;
      if (is_decoder && !fitting)
        what += ", but the transformer's latents have " +
                std::to_string(network.config.value("out_dim", int64_t{0}));
      else if (is_decoder)
        what += R"(: to take it, write "kind": ")" + std::string(decoder_kind(part)) +
                R"(", "file": … into "decoder" of model.json)";
      if (part.kind == PartKind::lora)
        what +=
            R"(: to merge it, write "loras": [{"file": …, "scale": 1.0}] into "transformer" of model.json)";
      unused.push_back({{"what", what}, {"file", one.file.string()}});
    }
  }
  if (!loras.empty()) model["transformer"]["loras"] = loras;
  if (!search.tokenizers().empty()) {
    model["text"]["tokenizer"] = folder.name_of(search.tokenizers().front());
    parts.push_back({{"what", "tokenizer"}, {"file", search.tokenizers().front().string()}, {"layout", ""}});
  } else if (text && text->parts[0].tokenizer) {
    write_tokenizer(text->file, folder.path() / tokenizer_name);
    model["text"]["tokenizer"] = tokenizer_name;
    parts.push_back({{"what", "tokenizer"}, {"file", text->file.string()}, {"layout", "taken out of it"}});
  }
  // What stays under the template's names is still to be fetched.
  const fs::path file = folder.path() / "model.json", fresh = folder.path() / ".model.json.new";
  std::ofstream(fresh) << model.dump(1) << '\n';
  std::error_code error;
  fs::rename(fresh, file, error);
  if (error) throw Error(FC_ERROR_ARGUMENT, file.string() + " cannot be written: " + error.message());
  return {{"name", choice.name}, {"file", file.string()}, {"sure", choice.sure},
          {"why", choice.why},   {"parts", parts},        {"unused", unused}};
}

}  // namespace flowcache
