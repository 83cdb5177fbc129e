// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "base/error.h"
#include "families/preflight.h"
#include "package/fields.h"
#include "package/files.h"
#include "package/model.h"
#include "temp_folder.h"

namespace flowcache {
namespace {

using nlohmann::json;
using test::message_of;
using test::TempFolder;

json good() {
  return json::parse(R"({
    "name": "tiny", "family": "wan-causal", "license": "LGPL-2.1-or-later",
    "video": {"width": 320, "height": 192, "framerate": "16/1", "latent_frames_per_chunk": 3, "frames_per_chunk": 12},
    "transformer": {"file": "t.safetensors", "config": {"dim": 192, "num_heads": 3, "num_layers": 8, "ffn_dim": 768, "patch_size": [1, 2, 2], "out_dim": 16}},
    "text": {"kind": "words", "file": "w.safetensors"},
    "decoder": {"kind": "taehv", "file": "d.safetensors",
      "config": {"latent_channels": 16, "patch_size": 2, "decoder_time_upscale": [false, true, true]}},
    "sampler": {"kind": "flow_euler", "steps": 24, "shift": 1.5, "lag": 0, "clean_context": true},
    "cache": {"reuse": "flowcache", "threshold": 0.2, "kv": "window", "history_chunks": 3, "warmup": 3}})");
}

TEST(Model, ReadsTheOneThatShips) {
  const ModelPackage package = read_package(FLOWCACHE_SOURCE_DIR "/models/ambient");
  EXPECT_EQ(package.name, "ambient");
  EXPECT_EQ(package.frames_per_chunk % package.latent_frames_per_chunk, 0);
  EXPECT_GT(package.weight_bytes(), 1000000u);
  EXPECT_GT(read_section(package, package.transformer).count("patch_embedding.weight"), 0u);
}

TEST(Model, DerivesTheLatentSize) {
  const TempFolder folder;
  folder.write("model.json", good().dump());
  const ModelPackage package =
      read_package(folder.path / "model.json");  // the file works as well as the folder
  EXPECT_EQ(package.folder, folder.path);
  EXPECT_EQ(package.latent_width, 20);
  EXPECT_EQ(package.latent_height, 12);
  EXPECT_EQ(package.latent_channels, 16);
  EXPECT_EQ(package.fps_n, 16);
  EXPECT_TRUE(package.clean_context);
  EXPECT_EQ(kv_bytes_per_chunk(package, 4), 2u * 4 * 8 * 192 * 180);
}

TEST(Model, AnEncoderMayHaveASectionOfItsOwn) {
  const TempFolder folder;
  json document = good();
  folder.write("model.json", document.dump());
  EXPECT_TRUE(read_package(folder.path).encoder.is_null());
  const size_t files = package_files(read_package(folder.path)).size();
  document["encoder"] = {{"kind", "pca"}, {"file", "e.safetensors"}, {"config", {{"cell", 16}}}};
  folder.write("model.json", document.dump());
  const ModelPackage package = read_package(folder.path);
  EXPECT_EQ(package.encoder.at("kind"), "pca");
  const auto all = package_files(package);
  ASSERT_EQ(all.size(), files + 1);
  EXPECT_EQ(all.back().name, "e.safetensors");
  EXPECT_EQ(all.back().section, "encoder");
  EXPECT_NE(message_of([&] { check_files(package); }).find("e.safetensors (encoder)"), std::string::npos);
  document["encoder"]["seam_fade_frames"] = 3;
  folder.write("model.json", document.dump());
  EXPECT_NE(message_of([&] { read_package(folder.path); }).find("encoder.seam_fade_frames"),
            std::string::npos);
  document["encoder"] = {{"kind", "pca"}};
  folder.write("model.json", document.dump());
  EXPECT_NE(message_of([&] { read_package(folder.path); }).find("encoder"), std::string::npos);
}

// What is read here is what a stream can be made of.
TEST(Model, TakesDenoisingListsAsTheirAuthorsWriteThem) {
  const TempFolder folder;
  const auto read = [&](const json& list) {
    json document = good();
    document["sampler"] = {{"kind", "few_step"}, {"steps", 3}, {"denoising_step_list", list}};
    folder.write("model.json", document.dump());
    return read_package(folder.path).sampler.at("denoising_step_list").get<std::vector<int>>();
  };
  EXPECT_EQ(read({1000, 757, 522, 0}), (std::vector<int>{1000, 757, 522}));  // CausVid's own
  EXPECT_EQ(read({1000, 750, 500, 250}), (std::vector<int>{1000, 750, 500, 250}));
  EXPECT_EQ(read({1}), std::vector<int>{1});
  for (const bool warp : {false, true}) {  // a 0 at the end is left out either way
    json document = good();
    document["sampler"] = {{"kind", "few_step"},
                           {"steps", 1},
                           {"denoising_step_list", {1000, 0}},
                           {"denoising_step_list_first_chunk", {1000, 937, 833, 625, 0}},
                           {"warp_denoising_step", warp}};
    folder.write("model.json", document.dump());
    const json sampler = read_package(folder.path).sampler;
    EXPECT_EQ(sampler.at("denoising_step_list"), json({1000}));
    EXPECT_EQ(sampler.at("denoising_step_list_first_chunk"), json({1000, 937, 833, 625}));
    document["sampler"]["denoising_step_list_first_chunk"] = {500, 750};
    folder.write("model.json", document.dump());
    EXPECT_NE(message_of([&] { read_package(folder.path); }).find("sampler.denoising_step_list_first_chunk"),
              std::string::npos);
  }
  for (const json& bad : {json::array(), json{0}, json{0, 0}, json{500, 1000}, json{500, 500},
                          json{1000, 0, 500}, json{1001}, json{1000, -1}, json("1000"), json{1000.5}}) {
    const std::string message = message_of([&] { read(bad); });
    EXPECT_NE(message.find("sampler.denoising_step_list"), std::string::npos) << bad << ": " << message;
  }
}

TEST(Model, DrawsItsNativeSizeUnlessItSaysMore) {
  const TempFolder folder;
  json document = good();
  folder.write("model.json", document.dump());
  const ModelPackage one = read_package(folder.path);
  EXPECT_EQ(one.sizes.least, (Pixels{320, 192}));
  EXPECT_EQ(one.sizes.most, (Pixels{320, 192}));
  EXPECT_EQ(one.sizes.step, (Pixels{32, 32})) << "a token";
  EXPECT_EQ(picture_size(one, 320, 192).latent_width, 20);
  EXPECT_EQ(picture_size(one, 0, 0).latent_height, 12);
  EXPECT_NE(message_of([&] { picture_size(one, 352, 192); }).find("draws 320x192 only"), std::string::npos);

  document["video"]["sizes"] = {
      {"least", {128, 96}}, {"most", {512, 288}}, {"good", {{512, 288}, {320, 192}}}};
  folder.write("model.json", document.dump());
  const ModelPackage many = read_package(folder.path);
  EXPECT_EQ(many.sizes.good, (std::vector<Pixels>{{320, 192}, {512, 288}})) << "the native one first, once";
  const PictureSize size = picture_size(many, 384, 224);
  EXPECT_EQ(size.latent_width, 24);
  EXPECT_EQ(size.latent_height, 14);
  const ModelPackage larger = at_size(many, 512, 288);
  EXPECT_EQ(kv_bytes_per_chunk(larger, 4), kv_bytes_per_chunk(many, 4) * 144 / 60) << "tokens a frame";
  const std::pair<Pixels, const char*> refused[] = {
      {{500, 288},
       "500x288 is not possible: this model draws 128x96 to 512x288 in steps of 32x32; nearest: 480x288 and "
       "512x288"},
      {{384, 100}, "nearest: 384x96 and 384x128"},
      {{4096, 2304}, "nearest: 512x288"},
      {{32, 32}, "nearest: 128x96"},
      {{384, 0}, "384x0 is not possible"},
      {{-32, 96}, "nearest: 128x96"}};
  for (const auto& [pixels, says] : refused) {
    const std::string message = message_of([&] { picture_size(many, pixels.width, pixels.height); });
    EXPECT_NE(message.find(says), std::string::npos) << message;
  }
}

struct BrokenField {
  const char* pointer;  // the field to replace; a null value removes it
  json value;
  std::vector<std::string> says;
};

std::vector<BrokenField> broken_fields() {
  return {
      {"/name", nullptr, {"name is missing"}},
      {"/name", std::string(64, 'x'), {"at most 63 bytes"}},
      {"/family", 5, {"family is 5"}},
      {"/video/sizes", 5, {"video.sizes is 5"}},
      {"/video/sizes", {{"least", {128, 96}}}, {"video.sizes.most is missing"}},
      {"/video/sizes",
       {{"least", {100, 96}}, {"most", {512, 288}}},
       {"video.sizes.least", "multiples of 32x32"}},
      {"/video/sizes", {{"least", {352, 96}}, {"most", {512, 288}}}, {"around the video's own 320x192"}},
      {"/video/sizes",
       {{"least", {128, 96}}, {"most", {512, 288}}, {"good", {{640, 288}}}},
       {"video.sizes.good"}},
      {"/video/sizes", {{"least", {128, 96}}, {"most", {512, 1e300}}}, {"video.sizes.most"}},
      {"/video", nullptr, {"video is missing"}},
      {"/video", json::array(), {"video is []", "object"}},
      {"/video/width", -320, {"video.width is -320", "16 to 8192"}},
      {"/video/width", 320.5, {"video.width is 320.5"}},
      {"/video/width", 18446744073709551615u, {"video.width is 18446744073709551615"}},
      {"/video/width", 321, {"multiple of 32"}},
      {"/video/height", 200, {"video.height is 200", "multiple of 32"}},
      {"/video/framerate", "16", {"video.framerate is \"16\"", "16/1"}},
      {"/video/framerate", "0/1", {"framerate"}},
      {"/video/framerate", "16/0", {"framerate"}},
      {"/video/framerate", "16/1x", {"framerate"}},
      {"/video/framerate", 16, {"framerate is 16"}},
      {"/video/frames_per_chunk", 13, {"video.frames_per_chunk is 13", "wanted 12"}},
      {"/video/latent_frames_per_chunk", 0, {"latent_frames_per_chunk is 0"}},
      {"/transformer", nullptr, {"transformer is missing"}},
      {"/transformer/config", "x", {"transformer.config is \"x\""}},
      {"/transformer/config/patch_size",
       json::array({2, 2}),
       {"transformer.config.patch_size", "three sizes"}},
      {"/transformer/config/out_dim", 8, {"out_dim is 8", "16"}},
      {"/transformer/file", nullptr, {"transformer.file is missing"}},
      {"/transformer/file", "../t.safetensors", {"transformer.file", "inside the model's folder"}},
      {"/transformer/file", "/etc/passwd", {"inside the model's folder"}},
      {"/transformer/file", std::string("t\0x", 3), {"transformer.file"}},
      {"/text/kind", nullptr, {"text.kind is missing"}},
      {"/text/file", json::object(), {"text.file is {}"}},
      {"/decoder/kind", "", {"decoder.kind is \"\""}},
      {"/decoder/seam_fade_frames", -1, {"decoder.seam_fade_frames is -1"}},
      {"/decoder/latent_fade_frames", 1001, {"decoder.latent_fade_frames is 1001", "0 to 1000"}},
      {"/decoder/config/patch_size", 0, {"decoder.config.patch_size is 0"}},
      {"/decoder/config/decoder_time_upscale", json::array({true}), {"three of true or false"}},
      {"/sampler/steps", 0, {"sampler.steps is 0", "1 to 1000"}},
      {"/sampler/steps", nullptr, {"sampler.steps is missing"}},
      {"/sampler/lag", 25, {"sampler.lag is 25", "0 to 24"}},
      {"/sampler/shift", "big", {"sampler.shift is \"big\""}},
      {"/sampler/clean_context", 1, {"sampler.clean_context is 1"}},
      {"/cache/threshold", -0.1, {"cache.threshold is -0.1"}},
      {"/cache/history_chunks", 0, {"cache.history_chunks is 0"}},
      {"/cache/warmup", 1.5, {"cache.warmup is 1.5"}},
      {"/cache/kv", 3, {"cache.kv is 3"}},
  };
}

TEST(Model, NamesTheFieldTheValueAndWhatIsWanted) {
  const TempFolder folder;
  for (const BrokenField& broken : broken_fields()) {
    json document = good();
    const json::json_pointer pointer(broken.pointer);
    if (broken.value.is_null())
      document[pointer.parent_pointer()].erase(pointer.back());
    else
      document[pointer] = broken.value;
    folder.write("model.json", document.dump());
    const std::string message = message_of([&] { read_package(folder.path); });
    EXPECT_NE(message.find("model.json"), std::string::npos) << broken.pointer << ": " << message;
    for (const std::string& part : broken.says)
      EXPECT_NE(message.find(part), std::string::npos)
          << broken.pointer << " should say " << part << ": " << message;
  }
}

TEST(Model, NamesAFieldThatIsNoneAndTheOneThatIsMeant) {
  const TempFolder folder;
  const std::pair<const char*, std::vector<std::string>> misspelt[] = {
      {"/discription", {"discription is no field", "\"description\""}},
      {"/video/hight", {"video.hight is no field", "\"height\""}},
      {"/transformer/lora", {"transformer.lora is no field", "\"loras\""}},
      {"/text/max_lenght", {"text.max_lenght is no field", "\"max_length\""}},
      {"/decoder/seam_fade_frame", {"decoder.seam_fade_frame is no field", "\"seam_fade_frames\""}},
      {"/sampler/guidence_scale", {"sampler.guidence_scale is no field", "\"guidance_scale\""}},
      {"/cache/treshold", {"cache.treshold is no field", "\"threshold\""}},
      {"/cache/colour", {"cache.colour is no field", "history_chunks", "on_cut", "a note begins with \"_\""}},
  };
  for (const auto& [pointer, says] : misspelt) {
    json document = good();
    document[json::json_pointer(pointer)] = 1;
    folder.write("model.json", document.dump());
    const std::string message = message_of([&] { read_package(folder.path); });
    for (const std::string& part : says)
      EXPECT_NE(message.find(part), std::string::npos) << pointer << ": " << message;
  }
  json document = good();
  document["_made_by"] = document["video"]["_note"] = "a note";
  folder.write("model.json", document.dump());
  EXPECT_NO_THROW(read_package(folder.path));
}

TEST(Fields, OfAPublishedConfigAreOnlyTakenForAnotherWhereItIsMissing) {
  const json config = {{"num_layers", 2}, {"window_size", {1, 1}}, {"_class_name", "x"}, {"num_layer", 3}};
  EXPECT_NO_THROW(Fields(config, "config.json", "config").none_like({"num_layers", "text_dim"}));
  const json other = {{"num_layer", 3}};
  const std::string message = message_of([&] {
    Fields(other, "config.json", "config").none_like({"num_layers", "text_dim"});
  });
  EXPECT_NE(message.find("config.num_layer is no field that is known; is it \"num_layers\"?"),
            std::string::npos)
      << message;
}

TEST(Model, RefusesWhatIsNotJson) {
  const TempFolder folder;
  for (const char* text :
       {"", "{", "{\"name\": \"\xff\"}", "{\"name\": \"a\", \"name\": \"b\"}", "[]", "nul"}) {
    folder.write("model.json", text);
    EXPECT_NE(message_of([&] { read_package(folder.path); }), "") << text;
  }
}

TEST(Model, SaysWhatItLookedFor) {
  const TempFolder folder;
  EXPECT_NE(message_of([&] {
              read_package(folder.path);
            }).find("looked for " + (folder.path / "model.json").string()),
            std::string::npos);
  EXPECT_NE(message_of([&] { read_package("/no/such/folder"); }).find("/no/such/folder"), std::string::npos);
  EXPECT_NE(message_of([&] { read_package(""); }).find("empty"), std::string::npos);
}

TEST(Model, MissingWeightFilesAreNamed) {
  const TempFolder folder;
  folder.write("model.json", good().dump());
  const ModelPackage package = read_package(folder.path);
  EXPECT_NE(message_of([&] { package.weight_bytes(); }).find("t.safetensors"), std::string::npos);
  EXPECT_NE(message_of([&] { read_section(package, package.decoder); }).find("d.safetensors"),
            std::string::npos);
}

TEST(Model, ShardsAreMergedAndMustNotRepeat) {
  const TempFolder folder;
  const std::string bytes =
      std::string("\x35\0\0\0\0\0\0\0", 8) + R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})" + "x";
  folder.write("1", bytes);
  folder.write("2", bytes);
  json document = good();
  document["transformer"]["files"] = {"1", "2"};
  document["transformer"].erase("file");
  folder.write("model.json", document.dump());
  const ModelPackage package = read_package(folder.path);
  EXPECT_NE(message_of([&] { read_section(package, package.transformer); }).find("\"a\" is in another file"),
            std::string::npos);
}

TEST(Preflight, RefusesWithEveryFigure) {
  const std::vector<MemoryNeed> needs = {{"transformer", 600'000'000}, {"KV budget of history", 863'000'000}};
  EXPECT_NO_THROW(check_memory(needs, 1'463'000'000, "cpu"));
  const std::string message = message_of([&] { check_memory(needs, 1'462'999'999, "cpu"); });
  for (const char* part :
       {"1463 MB", "cpu has 1463 MB", "transformer 600 MB", "KV budget of history 863 MB", "lower kv-budget"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST(Preflight, PlansTheModelThatShips) {
  const ModelPackage package = read_package(FLOWCACHE_SOURCE_DIR "/models/ambient");
  const auto total = [&](const MemoryPlan& plan) {
    uint64_t sum = 0;
    for (const MemoryNeed& need : memory_needs(package, plan)) sum += need.bytes;
    return sum;
  };
  EXPECT_GT(total({}), package.weight_bytes());
  EXPECT_LT(total({}), 1'000'000'000u);
  EXPECT_EQ(total({.kv_budget = 500'000'000}) - total({.kv_budget = 400'000'000}), 100'000'000u);
  EXPECT_GT(total({.branches = 2}), total({}));
}

}  // namespace
}  // namespace flowcache
