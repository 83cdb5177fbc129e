// SPDX-License-Identifier: LGPL-2.1-or-later
// Tiny packages in the form of downloaded checkpoints: from model.json and files on disk to streamed frames.
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "../peak_memory.h"
#include "base/error.h"
#include "families/factory.h"
#include "families/family.h"
#include "families/preflight.h"
#include "networks/text/t5.h"
#include "stream/device.h"
#include "stream/stream.h"
#include "temp_folder.h"

using namespace flowcache;
using flowcache::test::TempFolder;
using nlohmann::json;

namespace {

const std::filesystem::path golden = std::filesystem::path(FLOWCACHE_SOURCE_DIR) / "tests/golden";

void write_safetensors(const std::filesystem::path& file, const WeightMap& weights) {
  json header;
  std::string data;
  for (const auto& [name, tensor] : weights) {
    const at::Tensor flat = tensor.to(at::kFloat).contiguous();
    header[name] = {{"dtype", "F32"},
                    {"shape", flat.sizes().vec()},
                    {"data_offsets", {data.size(), data.size() + flat.nbytes()}}};
    data.append(static_cast<const char*>(flat.const_data_ptr()), flat.nbytes());
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), 8);
  out << text << data;
}

WeightMap random(const std::vector<WeightSpec>& specs) {
  WeightMap weights;
  for (const WeightSpec& spec : specs)
    if (!spec.optional) weights[spec.name] = at::randn(spec.shape) * 0.1;
  return weights;
}

json golden_config(const std::string& name) {
  std::ifstream file(golden / name / "case.json");
  return json::parse(file).at("config");
}

// Puts the tokenizer and a random text encoder into the folder; returns the "text" section.
json add_text(const TempFolder& folder, const std::string& kind, const json& config) {
  std::filesystem::copy_file(golden / "umt5-tokenize/spiece.model", folder.path / "spiece.model");
  write_safetensors(folder.path / "text.safetensors", random(T5Config::from_json(config).weights()));
  return {{"kind", kind}, {"file", "text.safetensors"}, {"config", config}};
}

void write_skyreels(const TempFolder& folder) {
  std::filesystem::copy_file(golden / "skyreels-df-transformer/weights.safetensors",
                             folder.path / "transformer.safetensors");
  std::filesystem::copy_file(golden / "wan-vae-decode-stream/weights.safetensors",
                             folder.path / "vae.safetensors");
  const json text = {{"vocab", 420},   {"dim", 48},       {"dim_attn", 64},    {"dim_ffn", 96},
                     {"num_heads", 4}, {"num_layers", 2}, {"num_buckets", 32}, {"shared_pos", false}};
  json model = {{"name", "tiny"}, {"family", "skyreels"}, {"clean_context", false}};
  model["video"] = {{"width", 96},
                    {"height", 64},
                    {"framerate", "24/1"},
                    {"latent_frames_per_chunk", 2},
                    {"frames_per_chunk", 8}};
  model["transformer"] = {{"file", "transformer.safetensors"},
                          {"config", golden_config("skyreels-df-transformer")}};
  model["text"] = add_text(folder, "umt5", text);
  model["decoder"] = {
      {"kind", "wan_vae"}, {"file", "vae.safetensors"}, {"config", golden_config("wan-vae-decode-stream")}};
  model["sampler"] = {{"kind", "unipc"}, {"steps", 12}, {"shift", 8.0}, {"guidance_scale", 3.0}, {"lag", 4}};
  model["cache"] = {{"reuse", "flowcache:feature=modulation,warmup=2"},
                    {"threshold", 5.0},
                    {"kv", "flowcache:queries=chunk"},
                    {"history_chunks", 1}};
  folder.write("model.json", model.dump());
}

WeightMap random_magi_vae(int64_t dim) {
  std::vector<WeightSpec> specs = {{"decoder.cls_token", {1, 1, dim}},
                                   {"decoder.pos_embed", {1, 4097, dim}},
                                   {"decoder.last_layer.weight", {3, dim / 256, 3, 3, 3}},
                                   {"decoder.last_layer.bias", {3}}};
  specs.push_back({"encoder.cls_token", {1, 1, dim}});
  specs.push_back({"encoder.pos_embed", {1, 4097, dim}});
  const auto add = [&](const std::string& name, std::vector<int64_t> weight) {
    specs.push_back({name + ".weight", weight});
    specs.push_back({name + ".bias", {weight[0]}});
  };
  add("decoder.proj_in", {dim, 16});
  add("encoder.patch_embed.proj", {dim, 3, 4, 8, 8});
  add("encoder.last_layer", {32, dim});
  for (const std::string half : {"decoder.", "encoder."}) {
    add(half + "norm", {dim});
    add(half + "blocks.0.norm2", {dim});
    add(half + "blocks.0.attn.qkv", {3 * dim, dim});
    add(half + "blocks.0.attn.proj", {dim, dim});
    add(half + "blocks.0.mlp.fc1", {4 * dim, dim});
    add(half + "blocks.0.mlp.fc2", {dim, 4 * dim});
  }
  return random(specs);
}

void write_magi(const TempFolder& folder) {
  std::filesystem::copy_file(golden / "magi-dit-window/weights.safetensors",
                             folder.path / "transformer.safetensors");
  write_safetensors(folder.path / "vae.safetensors", random_magi_vae(256));
  const json text = {{"vocab_size", 420},
                     {"d_model", 24},
                     {"d_kv", 8},
                     {"d_ff", 32},
                     {"num_layers", 2},
                     {"num_heads", 3},
                     {"feed_forward_proj", "gated-gelu"}};
  json config = golden_config("magi-dit-window");
  config["num_layers"] = 2;  // read by the preflight
  config["dim"] = 96;
  config["num_heads"] = 6;
  config["num_kv_heads"] = 2;
  json model = {{"name", "tiny"}, {"family", "magi"}};
  model["video"] = {{"width", 48},
                    {"height", 32},
                    {"framerate", "24/1"},
                    {"latent_frames_per_chunk", 6},
                    {"frames_per_chunk", 24}};
  model["transformer"] = {{"file", "transformer.safetensors"}, {"config", config}};
  model["text"] = add_text(folder, "t5", text);
  model["text"]["special_tokens"] = "special.safetensors";
  write_safetensors(folder.path / "special.safetensors", {{"other_tokens", at::randn({100, 24})}});
  model["decoder"] = {
      {"kind", "magi_vae"},
      {"file", "vae.safetensors"},
      {"config", {{"embed_dim", 256}, {"depth", 1}, {"num_heads", 2}, {"latent_channels", 16}}}};
  model["sampler"] = {{"kind", "magi"}, {"steps", 16}, {"shift", 3.0}, {"lag", 4}};
  model["cache"] = {{"reuse", "flowcache:warmup=2,protect_last=0"},
                    {"threshold", 0.1},
                    {"kv", "flowcache:queries=frame"},
                    {"history_chunks", 1}};
  folder.write("model.json", model.dump());
}

// Streams some chunks and checks what holds for every model.
StreamStats run(const TempFolder& folder, int chunks, const std::vector<int64_t>& frames) {
  const auto model = LoadedModel::load(
      {.model = folder.path.string(), .device = "cpu", .precision = "fp32", .threads = 1}, nullptr);
  StreamConfig config;
  config.prompt = "a slow green aurora";
  config.seed = 3;
  Stream stream(model, config);
  for (int i = 0; i < chunks; ++i) {
    const auto chunk = stream.next();
    EXPECT_TRUE(chunk->latent.isfinite().all().item<bool>()) << i;
    EXPECT_EQ(chunk->frames.size(0), frames[std::min<size_t>(static_cast<size_t>(i), frames.size() - 1)])
        << i;
    EXPECT_GE(chunk->frames.min().item<double>(), 0) << i;
    EXPECT_LE(chunk->frames.max().item<double>(), 1) << i;
  }
  return stream.stats();
}

}  // namespace

TEST(CheckpointStreams, SkyReels) {
  const c10::InferenceMode inference;
  at::manual_seed(1);
  const TempFolder folder;
  write_skyreels(folder);
  const StreamStats stats = run(folder, 4, {5, 8});  // the VAE's first latent frame is one frame
  EXPECT_GT(stats.steps_reused, 0U);
  EXPECT_LE(stats.kv_bytes, stats.kv_budget);
  EXPECT_EQ(stats.chunks_in_flight, 3);
}

TEST(CheckpointStreams, Magi) {
  const c10::InferenceMode inference;
  at::manual_seed(2);
  const TempFolder folder;
  write_magi(folder);
  const StreamStats stats = run(folder, 3, {24});
  EXPECT_GT(stats.steps_reused, 0U);
  EXPECT_LE(stats.kv_bytes, stats.kv_budget);
  EXPECT_EQ(stats.chunks_in_flight, 4);
}

namespace {

std::shared_ptr<const LoadedModel> load(const std::string& folder) {
  return LoadedModel::load({.model = folder, .device = "cpu", .precision = "fp32", .threads = 1}, nullptr);
}

json read_model(const TempFolder& folder) {
  return json::parse(std::ifstream(folder.path / "model.json"));
}

}  // namespace

TEST(CheckpointStreams, MagiGoesOnFromAnImageAndFromAVideo) {
  const c10::InferenceMode inference;
  at::manual_seed(3);
  const TempFolder folder;
  write_magi(folder);
  const auto model = load(folder.path.string());
  StreamConfig config;
  config.prompt = "a slow green aurora";
  const auto first = [&](const at::Tensor& frames) {
    config.initial_frames = frames;
    Stream stream(model, config);
    return stream.next();
  };
  const auto image = first(at::rand({1, 3, 32, 48})), video = first(at::rand({28, 3, 32, 48}));
  EXPECT_EQ(image->frames.size(0), 24);  // includes the image
  EXPECT_EQ(video->frames.size(0), 20);  // 7 latent frames: a chunk, and one of the next
  EXPECT_TRUE(video->latent.isfinite().all().item<bool>());
  EXPECT_NE(test::message_of([&] { first(at::rand({6, 3, 32, 48})); }).find("6 frames"), std::string::npos);
  EXPECT_NE(test::message_of([&] {
              first(at::rand({4, 3, 48, 32}));
            }).find("32x48, the video is 48x32"),
            std::string::npos);
}

// Frames of a prefix go through the whole VAE file and have the same effect as their latents.
TEST(CheckpointStreams, SkyReelsGoesOnFromAVideoThroughTheWanVae) {
  const c10::InferenceMode inference;
  at::manual_seed(6);
  const TempFolder folder;
  write_skyreels(folder);
  json model = read_model(folder);
  // One chunk in flight, because the start is tested.
  model["sampler"]["steps"] = model["sampler"]["lag"] = 2;
  folder.write("model.json", model.dump());
  StreamConfig config{.prompt = "fire", .cache = "none"};
  config.initial_frames = at::rand({9, 3, 64, 96});
  const auto first = [&] { return Stream(load(folder.path.string()), config).next(); };
  EXPECT_NE(test::message_of([&] { first(); }).find("hold no encoder"), std::string::npos);

  WeightMap vae = read_safetensors(golden / "wan-vae-decode-stream/weights.safetensors");
  vae.merge(read_safetensors(golden / "wan-vae-encode/weights.safetensors"));
  write_safetensors(folder.path / "whole.safetensors", vae);
  std::filesystem::rename(folder.path / "whole.safetensors", folder.path / "vae.safetensors");
  const auto chunk = first();
  // 3 latent frames: a chunk, and one frame of the next, which is not shown.
  EXPECT_EQ(chunk->frames.size(0), 4);
  // The model has one thread, and some processors' sums depend on the number of threads.
  const at::Tensor latents = [&] {
    const ArithmeticThreads one(1);
    const auto encoder = make_frame_encoder(read_model(folder.path), at::kFloat, at::kCPU);
    return encoder->encode(config.initial_frames).transpose(0, 1);
  }();
  EXPECT_EQ(latents.size(1), 3);
  EXPECT_TRUE(chunk->latent.narrow(1, 0, 1).equal(latents.narrow(1, 2, 1)));
  config.initial_frames = at::Tensor();
  config.initial_latents = latents;
  EXPECT_TRUE(first()->latent.equal(chunk->latent));
}

TEST(CheckpointStreams, MagiBaseRunsItsThreeBranches) {
  const c10::InferenceMode inference;
  at::manual_seed(4);
  const TempFolder folder;
  write_magi(folder);
  json model = read_model(folder);
  const auto chunk = [&](int passes, double text_scale) {
    model["transformer"]["config"]["engine_config"] = {{"distill", false}};
    model["transformer"]["config"]["runtime_config"] = {
        {"cfg_number", passes}, {"text_scales", {text_scale, text_scale, text_scale, 0.0, 0.0}}};
    model["clean_context"] = true;
    folder.write("model.json", model.dump());
    Stream stream(load(folder.path.string()), {.prompt = "fire", .cache = "none"});
    return std::pair(stream.next()->latent, stream.stats().kv_allocated);
  };
  const auto [plain, one] = chunk(1, 7.5);
  const auto [guided, two] = chunk(3, 7.5);
  EXPECT_TRUE(guided.isfinite().all().item<bool>());
  EXPECT_FALSE(guided.allclose(plain, 1e-3, 1e-3));
  EXPECT_FALSE(guided.allclose(chunk(3, 2.0).first, 1e-3, 1e-3));
  EXPECT_EQ(two, 2 * one);  // the keys of two passes
  // Four in flight, one of history, and what the preflight plans beside them.
  const ModelPackage package = read_model(folder.path);
  EXPECT_EQ(kv_bytes_per_chunk(package, 4) * 5 +
                plan_of(package, at::kFloat, KvPrecision::full, at::kCPU).kv_scratch,
            two);
}

// Attention outputs of every pass, four chunks in flight.
TEST(CheckpointStreams, MagiReusesAttention) {
  const c10::InferenceMode inference;
  at::manual_seed(7);
  const TempFolder folder;
  write_magi(folder);
  json model = read_model(folder);
  for (const int passes : {1, 3}) {
    model["transformer"]["config"]["engine_config"] = {{"distill", false}};
    model["transformer"]["config"]["runtime_config"] = {{"cfg_number", passes}};
    folder.write("model.json", model.dump());
    const auto loaded = load(folder.path.string());
    Stream plain(loaded, {.prompt = "fire", .cache = "none"});
    Stream all(loaded, {.prompt = "fire", .cache = "attention:interval=1"});
    Stream some(loaded, {.prompt = "fire", .cache = "attention"});
    for (int i = 0; i < 3; ++i) {
      const at::Tensor exact = plain.next()->latent, near = some.next()->latent;
      EXPECT_TRUE(exact.equal(all.next()->latent)) << passes;
      EXPECT_FALSE(exact.equal(near)) << passes;
      EXPECT_LT((exact - near).abs().mean().item<double>(), 0.3 * exact.abs().mean().item<double>())
          << passes;
    }
    EXPECT_GT(some.stats().steps_reused, 0U);
    EXPECT_GT(some.stats().reuse_bytes, 0U);
  }
}

// Also where two passes share one cache. The first chunk has no history, so it is the same bit by bit.
TEST(CheckpointStreams, MagisHistoryIn8BitsIsNearFullPrecision) {
  const c10::InferenceMode inference;
  at::manual_seed(7);
  const TempFolder folder;
  write_magi(folder);
  json model = read_model(folder);
  for (const int passes : {1, 3}) {
    model["transformer"]["config"]["engine_config"] = {{"distill", false}};
    model["transformer"]["config"]["runtime_config"] = {{"cfg_number", passes}};
    folder.write("model.json", model.dump());
    std::vector<at::Tensor> latents[2];
    uint64_t budgets[2];
    for (const int small : {0, 1}) {
      const auto loaded = LoadedModel::load({.model = folder.path.string(),
                                             .device = "cpu",
                                             .precision = "fp32",
                                             .threads = 1,
                                             .kv_precision = small ? "int8" : "full"},
                                            nullptr);
      Stream stream(loaded, {.prompt = "fire", .cache = "none"});
      for (int i = 0; i < 3; ++i) latents[small].push_back(stream.next()->latent);
      budgets[small] = stream.stats().kv_budget;
    }
    EXPECT_LT(budgets[1], budgets[0] / 2) << passes;
    EXPECT_TRUE(latents[0][0].equal(latents[1][0])) << passes;
    for (const int chunk : {1, 2}) {
      const at::Tensor exact = latents[0][chunk], near = latents[1][chunk];
      EXPECT_FALSE(exact.equal(near)) << passes;
      EXPECT_LT((exact - near).norm().item<double>(), 0.05 * exact.norm().item<double>()) << passes;
    }
  }
}

// The setting of a loaded model reaches its blocks.
TEST(CheckpointStreams, SlicesOfTokensTakeLessMemory) {
  const c10::InferenceMode inference;
  at::manual_seed(8);
  const TempFolder folder;
  write_magi(folder);
  const auto run = [&](int64_t slice) {
    const auto model = LoadedModel::load({.model = folder.path.string(),
                                          .device = "cpu",
                                          .precision = "fp32",
                                          .threads = 1,
                                          .slice_tokens = slice},
                                         nullptr);
    Stream stream(model, {.prompt = "fire", .cache = "attention"});
    const int64_t peak = test::peak_bytes([&] {
      const double t = 0.5;
      OwnKeys own;
      const auto condition = model->transformer->condition(model->text->encode("fire").embedding);
      model->transformer->forward(at::zeros({16, 6, 4, 6}), t, 0, *condition, own);
    });
    return std::pair(peak, stream.next()->latent);
  };
  const auto [whole_peak, whole] = run(0);
  const auto [sliced_peak, sliced] = run(5);
  EXPECT_LT(sliced_peak, 0.8 * static_cast<double>(whole_peak));
  EXPECT_TRUE(sliced.allclose(whole, 1e-3, 1e-3));
}

TEST(CheckpointStreams, ATextEncoderRemembersAndUnloads) {
  const c10::InferenceMode inference;
  at::manual_seed(5);
  const TempFolder folder;
  write_magi(folder);
  json model = read_model(folder);
  model["text"]["unload"] = true;
  folder.write("model.json", model.dump());
  const auto loaded = load(folder.path.string());
  const at::Tensor first = loaded->text->encode("a slow green aurora").embedding;
  // Weights and file are gone: encoded prompts are remembered, new ones cannot be encoded.
  std::filesystem::remove(folder.path / "text.safetensors");
  EXPECT_TRUE(loaded->text->encode("a slow green aurora").embedding.equal(first));
  EXPECT_NE(test::message_of([&] { loaded->text->encode("another prompt"); }).find("text.safetensors"),
            std::string::npos);
}

// Words that the cleaning removes, and words after the last piece that fits.
TEST(CheckpointStreams, ATextEncoderNamesWordsWithoutEffect) {
  const c10::InferenceMode inference;
  const TempFolder folder;
  write_magi(folder);
  const auto without_effect = [&](int64_t max_length) {
    json model = read_model(folder);
    model["text"]["max_length"] = max_length;
    folder.write("model.json", model.dump());
    return load(folder.path.string())
        ->text->encode("Aurora @someone \xe4\xb8\x80\xe5\x8f\xaa over seas, seas at night")
        .unknown;
  };
  const std::vector<std::string> dropped = {"someone", "\xe4\xb8\x80\xe5\x8f\xaa"};
  EXPECT_EQ(without_effect(400), dropped);
  const auto cut = without_effect(9);
  EXPECT_EQ(std::count(cut.begin(), cut.end(), "aurora"), 0);
  EXPECT_EQ(std::count(cut.begin(), cut.end(), "someone"), 1);
  EXPECT_EQ(std::count(cut.begin(), cut.end(), "night"), 1);
}

TEST(CheckpointStreams, RandomWeightsNeedNoFile) {
  const c10::InferenceMode inference;
  const TempFolder folder;
  write_skyreels(folder);
  for (const char* file : {"transformer.safetensors", "vae.safetensors", "text.safetensors", "spiece.model"})
    std::filesystem::remove(folder.path / file);
  EXPECT_NE(test::message_of([&] { load(folder.path.string()); }).find("4 files"), std::string::npos);
  Stream stream(load("random:" + folder.path.string()), {.prompt = "fire"});
  EXPECT_TRUE(stream.next()->frames.isfinite().all().item<bool>());
}

TEST(CheckpointStreams, ALoraOfAnotherModelIsRefused) {
  const c10::InferenceMode inference;
  const TempFolder folder;
  write_magi(folder);
  json model = read_model(folder);
  model["transformer"]["loras"] = {{{"file", "style.safetensors"}, {"scale", 0.5}}};
  folder.write("model.json", model.dump());
  EXPECT_NE(
      test::message_of([&] { load(folder.path.string()); }).find("style.safetensors (transformer.loras)"),
      std::string::npos);
  write_safetensors(folder.path / "style.safetensors",
                    {{"diffusion_model.blocks.0.self_attn.q.lora_A.weight", at::ones({2, 64})},
                     {"diffusion_model.blocks.0.self_attn.q.lora_B.weight", at::ones({64, 2})}});
  EXPECT_NE(
      test::message_of([&] { load(folder.path.string()); }).find("no diffusion_model.blocks.0.self_attn.q"),
      std::string::npos);
}

TEST(CheckpointStreams, WrongPartsAreNamed) {
  const c10::InferenceMode inference;
  const auto load = [](const TempFolder& folder) {
    return test::message_of([&] {
      LoadedModel::load({.model = folder.path.string(), .device = "cpu", .precision = "fp32", .threads = 1},
                        nullptr);
    });
  };
  {
    const TempFolder folder;
    write_magi(folder);
    std::filesystem::remove(folder.path / "spiece.model");
    EXPECT_NE(load(folder).find("spiece.model"), std::string::npos);
  }
  {
    const TempFolder folder;
    write_magi(folder);
    std::filesystem::copy_file(golden / "skyreels-df-transformer/weights.safetensors",
                               folder.path / "transformer.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    const std::string message = load(folder);
    EXPECT_NE(message.find("x_embedder.weight"), std::string::npos);       // missing
    EXPECT_NE(message.find("patch_embedding.weight"), std::string::npos);  // not MAGI-1's
    EXPECT_NE(message.find("belong to family skyreels, wan, wan-causal"), std::string::npos);
  }
  {
    const TempFolder folder;
    write_skyreels(folder);
    WeightMap weights = read_safetensors(folder.path / "transformer.safetensors");
    weights["blocks.0.extra"] = at::zeros({1});
    write_safetensors(folder.path / "transformer.safetensors.new", weights);
    std::filesystem::rename(folder.path / "transformer.safetensors.new",
                            folder.path / "transformer.safetensors");
    const std::string message = load(folder);
    EXPECT_NE(message.find("1 unexpected"), std::string::npos) << message;
    EXPECT_NE(message.find("blocks.0.extra"), std::string::npos);
  }
}
