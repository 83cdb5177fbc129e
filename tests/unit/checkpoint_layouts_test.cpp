// SPDX-License-Identifier: LGPL-2.1-or-later
// One tiny model in every layout that checkpoints are published in: from the files to the same frames, bit for bit.
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <functional>

#include "checkpoint_writer.h"
#include "families/factory.h"
#include "families/family.h"
#include "networks/text/t5.h"
#include "package/adopt.h"
#include "package/deferred.h"
#include "package/files.h"
#include "package/parts.h"
#include "package/weights_file.h"
#include "stream/stream.h"
#include "temp_folder.h"

using namespace flowcache;
using flowcache::test::TempFolder;
using nlohmann::json;

namespace {

const std::filesystem::path golden_cases = FLOWCACHE_SOURCE_DIR "/tests/golden";

json config_of_case(const std::string& name) {
  std::ifstream file(golden_cases / name / "case.json");
  return json::parse(file).at("config");
}

std::string changed(std::string text, const std::vector<std::pair<std::string, std::string>>& words) {
  for (const auto& [from, to] : words)
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
      text.replace(at, from.size(), to);
  return text;
}

WeightMap with_names(const WeightMap& weights, const std::function<std::string(const std::string&)>& name) {
  WeightMap out;
  for (const auto& [key, tensor] : weights) out[name(key)] = tensor;
  return out;
}

// TRANSFORMER_KEYS_RENAME_DICT of diffusers' scripts/convert_wan_to_diffusers.py, in its order.
std::string as_diffusers(const std::string& key) {
  return changed(key, {{"time_embedding.0", "condition_embedder.time_embedder.linear_1"},
                       {"time_embedding.2", "condition_embedder.time_embedder.linear_2"},
                       {"text_embedding.0", "condition_embedder.text_embedder.linear_1"},
                       {"text_embedding.2", "condition_embedder.text_embedder.linear_2"},
                       {"time_projection.1", "condition_embedder.time_proj"},
                       {"head.modulation", "scale_shift_table"},
                       {"head.head", "proj_out"},
                       {"modulation", "scale_shift_table"},
                       {"ffn.0", "ffn.net.0.proj"},
                       {"ffn.2", "ffn.net.2"},
                       {"norm2", "norm__placeholder"},
                       {"norm3", "norm2"},
                       {"norm__placeholder", "norm3"},
                       {"self_attn.q", "attn1.to_q"},
                       {"self_attn.k", "attn1.to_k"},
                       {"self_attn.v", "attn1.to_v"},
                       {"self_attn.o", "attn1.to_out.0"},
                       {"self_attn.norm_q", "attn1.norm_q"},
                       {"self_attn.norm_k", "attn1.norm_k"},
                       {"cross_attn.q", "attn2.to_q"},
                       {"cross_attn.k", "attn2.to_k"},
                       {"cross_attn.v", "attn2.to_v"},
                       {"cross_attn.o", "attn2.to_out.0"},
                       {"cross_attn.norm_q", "attn2.norm_q"},
                       {"cross_attn.norm_k", "attn2.norm_k"}});
}

// convert_vae() of the same script.
std::string vae_as_diffusers(const std::string& key) {
  std::string name = changed(key, {{"coder.middle.0.", "coder.mid_block.resnets.0."},
                                   {"coder.middle.1.", "coder.mid_block.attentions.0."},
                                   {"coder.middle.2.", "coder.mid_block.resnets.1."},
                                   {"coder.head.0.", "coder.norm_out."},
                                   {"coder.head.2.", "coder.conv_out."},
                                   {"coder.conv1.", "coder.conv_in."},
                                   {"encoder.downsamples.", "encoder.down_blocks."}});
  if (name.starts_with("conv1.")) name = "quant_" + changed(name, {{"conv1", "conv"}});
  if (name.starts_with("conv2.")) name = "post_quant_" + changed(name, {{"conv2", "conv"}});
  const std::string up = "decoder.upsamples.";
  if (name.starts_with(up)) {
    const int index = std::stoi(name.substr(up.size()));
    const std::string rest = name.substr(name.find('.', up.size()));
    const std::string block = "decoder.up_blocks." + std::to_string(index / 4);
    name = index % 4 == 3 ? block + ".upsamplers.0" + rest
                          : block + ".resnets." + std::to_string(index % 4) + rest;
  }
  return changed(name, {{".residual.0.", ".norm1."},
                        {".residual.2.", ".conv1."},
                        {".residual.3.", ".norm2."},
                        {".residual.6.", ".conv2."},
                        {".shortcut.", ".conv_shortcut."}});
}

// Of Wan 2.2's, whose halves both have levels: as AutoencoderKLWan names them with is_residual.
std::string vae_22_as_diffusers(const std::string& key) {
  const auto in_levels = [](std::string name, const std::string& half, const std::string& ours, char blocks,
                            const std::string& resizing) {
    const std::string start = half + "." + ours + "s.";
    if (!name.starts_with(start)) return name;
    const char level = name[start.size()], block = name[start.size() + ours.size() + 4];
    const std::string rest = name.substr(start.size() + ours.size() + 5),
                      place = half + "." + ours.substr(0, ours.find("sample")) + "_blocks." + level;
    return block == blocks ? place + "." + resizing + rest : place + ".resnets." + block + rest;
  };
  std::string name = in_levels(key, "encoder", "downsample", '2', "downsampler");
  name = in_levels(name, "decoder", "upsample", '3', "upsampler");
  return vae_as_diffusers(name);
}

std::string umt5_as_huggingface(const std::string& key) {
  return changed(key, {{"token_embedding", "shared"},
                       {"blocks.", "encoder.block."},
                       {"attn.", "layer.0.SelfAttention."},
                       {"pos_embedding.embedding", "layer.0.SelfAttention.relative_attention_bias"},
                       {"norm1", "layer.0.layer_norm"},
                       {"norm2", "layer.1.layer_norm"},
                       {"ffn.gate.0", "layer.1.DenseReluDense.wi_0"},
                       {"ffn.fc1", "layer.1.DenseReluDense.wi_1"},
                       {"ffn.fc2", "layer.1.DenseReluDense.wo"}})
      .replace(0, key == "norm.weight" ? 4 : 0, key == "norm.weight" ? "encoder.final_layer_norm" : "");
}

// MODEL_ARCH.T5 of gguf-py, the encoder's part.
std::string umt5_as_llama(const std::string& key) {
  if (key == "norm.weight") return "enc.output_norm.weight";
  return changed(key, {{"token_embedding", "token_embd"},
                       {"pos_embedding.embedding", "attn_rel_b"},
                       {"blocks.", "enc.blk."},
                       {"attn.", "attn_"},
                       {"norm1", "attn_norm"},
                       {"norm2", "ffn_norm"},
                       {"ffn.gate.0", "ffn_gate"},
                       {"ffn.fc1", "ffn_up"},
                       {"ffn.fc2", "ffn_down"}});
}

class Layouts : public testing::Test {
 protected:
  Layouts() {
    at::manual_seed(7);
    transformer_ = read_weights(golden_cases / "self-forcing-pipeline/weights.safetensors");
    vae_ = read_weights(golden_cases / "wan-vae-decode-stream/weights.safetensors");
    vae_.merge(read_weights(golden_cases / "wan-vae-encode/weights.safetensors"));
    const json text = {{"vocab", 420},   {"dim", 48},       {"dim_attn", 64},    {"dim_ffn", 96},
                       {"num_heads", 4}, {"num_layers", 2}, {"num_buckets", 32}, {"shared_pos", false}};
    for (const WeightSpec& spec : T5Config::from_json(text).weights())
      text_[spec.name] = at::randn(spec.shape) * 0.1;
    model_ = {{"name", "tiny"}, {"family", "wan-causal"}};
    model_["video"] = {{"width", 64},
                       {"height", 48},
                       {"framerate", "16/1"},
                       {"latent_frames_per_chunk", 3},
                       {"frames_per_chunk", 12}};
    model_["transformer"] = {{"file", "t.safetensors"}, {"config", config_of_case("self-forcing-pipeline")}};
    for (const char* other : {"local_attn_size", "sink_size", "frames_per_chunk", "timestep_shift",
                              "denoising_step_list", "warp_denoising_step"})
      model_["transformer"]["config"].erase(other);
    model_["text"] = {{"kind", "umt5"}, {"file", "u.safetensors"}, {"config", text}};
    model_["decoder"] = {
        {"kind", "wan_vae"}, {"file", "v.safetensors"}, {"config", config_of_case("wan-vae-decode-stream")}};
    model_["sampler"] = {
        {"kind", "few_step"}, {"steps", 2}, {"denoising_step_list", {1000, 500}}, {"timestep_shift", 5.0}};
    model_["cache"] = {{"reuse", "none"}, {"kv", "window"}, {"history_chunks", 1}};
    folder_.write("t.safetensors", test::safetensors_of(transformer_));
    folder_.write("u.safetensors", test::safetensors_of(text_));
    folder_.write("v.safetensors", test::safetensors_of(vae_));
    std::filesystem::copy_file(golden_cases / "umt5-tokenize/spiece.model", folder_.path / "spiece.model");
  }

  at::Tensor frames(const json& model) const {
    folder_.write("model.json", model.dump());
    const auto loaded = LoadedModel::load(
        {.model = folder_.path.string(), .device = "cpu", .precision = "fp32", .threads = 1}, nullptr);
    return Stream(loaded, {.prompt = "a slow green aurora", .seed = 3}).next()->frames;
  }
  at::Tensor frames() const { return frames(model_); }
  // The frames with a section's weights in another layout.
  at::Tensor with(const char* section, const json& fields) const {
    json model = model_;
    model[section].erase("file");
    model[section].update(fields);
    return frames(model);
  }

  const c10::InferenceMode inference_;
  TempFolder folder_;
  json model_;
  WeightMap transformer_, vae_, text_;
};

std::string torch_of(const WeightMap& weights, const std::string& inside = "") {
  test::TorchFile file;
  for (const auto& [name, tensor] : weights) file.add(inside + name, tensor);
  return file.bytes();
}

std::string gguf_of_weights(const WeightMap& weights, bool quantized) {
  std::vector<test::GgufTensor> all;
  for (const auto& [name, tensor] : weights)
    all.push_back(quantized && tensor.dim() == 2 && tensor.size(1) % 32 == 0
                      ? test::gguf_q8_0(name, tensor)
                      : test::gguf_tensor(name, tensor));
  return test::gguf_of(all);
}

// The matrices in fp8 with scales, as ComfyUI stores them, and beside them the same values in fp32.
std::pair<WeightMap, WeightMap> in_fp8(const WeightMap& weights, const std::string& scale_name, bool by_row) {
  WeightMap eight = {{"scaled_fp8", at::zeros({2}).to(at::kFloat8_e4m3fn)}}, wide;
  for (const auto& [name, tensor] : weights) {
    eight[name] = wide[name] = tensor;
    if (tensor.dim() != 2 || !name.ends_with(".weight")) continue;
    const at::Tensor scale = by_row ? tensor.abs().amax({1}, true) / 448 : tensor.abs().max() / 448;
    eight[name] = (tensor / scale).to(at::kFloat8_e4m3fn);
    eight[name.substr(0, name.size() - 6) + scale_name] = scale;
    wide[name] = eight[name].to(at::kFloat) * scale;
  }
  return {eight, wide};
}

}  // namespace

TEST_F(Layouts, OfATransformerGiveTheSameFrames) {
  const at::Tensor expected = frames();
  const auto prefixed = [&](const std::string& prefix) {
    return with_names(transformer_, [&](const std::string& key) { return prefix + key; });
  };
  const auto expect_same = [&](const std::string& file, const std::string& bytes,
                               json fields = json::object()) {
    folder_.write(file, bytes);
    fields["file"] = file;
    EXPECT_TRUE(with("transformer", fields).equal(expected)) << file;
  };
  for (const char* prefix : {"model.", "model.diffusion_model.", "generator_ema.model.", "generator."})
    expect_same(std::string(prefix) + "safetensors", test::safetensors_of(prefixed(prefix)));
  expect_same("fsdp.safetensors", test::safetensors_of(with_names(transformer_, [](const std::string& key) {
                return "model._fsdp_wrapped_module." +
                       changed(key,
                               {{"blocks.0.", "blocks.0._fsdp_wrapped_module._checkpoint_wrapped_module."}});
              })));
  expect_same("plain.pth", torch_of(transformer_));
  expect_same("inside.pt", torch_of(transformer_, "generator/model."));
  expect_same("diffusers.safetensors", test::safetensors_of(with_names(transformer_, as_diffusers)));
  expect_same("diffusers.bin", torch_of(with_names(transformer_, [](const std::string& key) {
                return "transformer." + as_diffusers(key);
              })));
  expect_same("plain.gguf", gguf_of_weights(transformer_, false));

  // A file of a training holds the network several times, and the others are not those.
  test::TorchFile both;
  for (const auto& [name, tensor] : transformer_) {
    both.add("generator/model." + name, at::zeros_like(tensor));
    both.add("generator_ema/model." + name, tensor);
    both.add("critic/model." + name, at::zeros_like(tensor));
  }
  expect_same("both.pt", both.bytes(), {{"key", "generator_ema"}});
  const std::string which = test::message_of([&] { with("transformer", {{"file", "both.pt"}}); });
  EXPECT_NE(which.find("\"critic\" and \"generator\" and \"generator_ema\""), std::string::npos) << which;

  // Shards, of which an index, one name, or all names may be given.
  WeightMap first, second;
  for (const auto& [name, tensor] : transformer_) (first.size() < 20 ? first : second)[name] = tensor;
  folder_.write("s-00001-of-00002.safetensors", test::safetensors_of(first));
  folder_.write("s-00002-of-00002.safetensors", test::safetensors_of(second));
  folder_.write(
      "s.index.json",
      json{{"weight_map", {{"a", "s-00001-of-00002.safetensors"}, {"b", "s-00002-of-00002.safetensors"}}}}
          .dump());
  EXPECT_TRUE(with("transformer", {{"file", "s.index.json"}}).equal(expected));
  EXPECT_TRUE(with("transformer", {{"file", "s-00001-of-00002.safetensors"}}).equal(expected));
  EXPECT_TRUE(
      with("transformer", {{"files", {"s-00002-of-00002.safetensors", "s-00001-of-00002.safetensors"}}})
          .equal(expected));
}

TEST_F(Layouts, In8BitsGiveTheFramesOfTheirValues) {
  const at::Tensor plain = frames();
  for (const bool by_row : {false, true}) {
    const auto [eight, wide] = in_fp8(transformer_, by_row ? "weight_scale" : "scale_weight", by_row);
    folder_.write("wide.safetensors", test::safetensors_of(wide));
    folder_.write("eight.safetensors", test::safetensors_of(with_names(eight, [](const std::string& key) {
                    return "model.diffusion_model." + key;
                  })));
    const at::Tensor expected = with("transformer", {{"file", "wide.safetensors"}});
    EXPECT_TRUE(with("transformer", {{"file", "eight.safetensors"}}).equal(expected)) << by_row;
    EXPECT_FALSE(expected.equal(plain));
  }
  folder_.write("q.gguf", gguf_of_weights(transformer_, true));
  WeightMap wide = read_weights(folder_.path / "q.gguf");
  int quantized = 0;
  for (auto& [name, weight] : wide) {
    quantized += weight.is_meta();
    weight = dense(weight);
  }
  EXPECT_GT(quantized, 20);
  folder_.write("wide.safetensors", test::safetensors_of(wide));
  EXPECT_TRUE(
      with("transformer", {{"file", "q.gguf"}}).equal(with("transformer", {{"file", "wide.safetensors"}})));
}

TEST_F(Layouts, OfATextEncoderGiveTheSameFrames) {
  const at::Tensor expected = frames();
  const auto expect_same = [&](const std::string& file, const std::string& bytes) {
    folder_.write(file, bytes);
    EXPECT_TRUE(with("text", {{"file", file}}).equal(expected)) << file;
  };
  WeightMap theirs = with_names(text_, umt5_as_huggingface);
  expect_same("huggingface.safetensors", test::safetensors_of(theirs));
  expect_same("text.pth", torch_of(text_));
  expect_same("llama.gguf", gguf_of_weights(with_names(text_, umt5_as_llama), false));
  theirs["spiece_model"] = at::zeros({9}, at::kByte);
  expect_same("comfyui.safetensors", test::safetensors_of(theirs));
  theirs["encoder.embed_tokens.weight"] = theirs.at("shared.weight");
  expect_same("tied.safetensors", test::safetensors_of(theirs));
  theirs.erase("shared.weight");
  expect_same("encoder_only.safetensors", test::safetensors_of(theirs));

  const auto [eight, wide] = in_fp8(text_, "scale_weight", false);
  folder_.write("wide.safetensors", test::safetensors_of(wide));
  folder_.write("eight.safetensors", test::safetensors_of(with_names(eight, umt5_as_huggingface)));
  EXPECT_TRUE(
      with("text", {{"file", "eight.safetensors"}}).equal(with("text", {{"file", "wide.safetensors"}})));
}

TEST_F(Layouts, OfADecoderGiveTheSameFrames) {
  const at::Tensor expected = frames(), clip = at::rand({5, 3, 48, 64});
  const auto encoded = [&] {
    return make_frame_encoder(read_model(folder_.path), at::kFloat, at::kCPU)->encode(clip);
  };
  const at::Tensor latents = encoded();
  const auto expect_same = [&](const std::string& file, const std::string& bytes) {
    folder_.write(file, bytes);
    EXPECT_TRUE(with("decoder", {{"file", file}}).equal(expected)) << file;
    EXPECT_TRUE(encoded().equal(latents)) << file;
  };
  expect_same("diffusers.safetensors", test::safetensors_of(with_names(vae_, vae_as_diffusers)));
  expect_same("Wan2.1_VAE.pth", torch_of(vae_));
  expect_same("prefixed.safetensors",
              test::safetensors_of(with_names(vae_, [](const std::string& key) { return "vae." + key; })));
}

// Wan 2.2's VAE, both halves: the same latents of a clip, and the same frames of those.
TEST_F(Layouts, OfWan22sVaeGiveTheSameLatentsAndFrames) {
  const TempFolder folder;
  WeightMap vae = read_weights(golden_cases / "wan22-vae-decode-stream/weights.safetensors");
  vae.merge(read_weights(golden_cases / "wan22-vae-encode/weights.safetensors"));
  json model = json::parse(std::ifstream(FLOWCACHE_SOURCE_DIR "/models/templates/longlive-2.0-5b.json"));
  const at::Tensor clip = at::rand({5, 3, 32, 48});
  const auto through = [&](const std::string& file, const std::string& bytes) {
    folder.write(file, bytes);
    model["decoder"] = {
        {"kind", "wan22_vae"}, {"file", file}, {"config", config_of_case("wan22-vae-decode-stream")}};
    folder.write("model.json", model.dump());
    const ModelPackage package = read_model(folder.path);
    const at::Tensor latents = make_frame_encoder(package, at::kFloat, at::kCPU)->encode(clip);
    const auto decoder = make_decoder(package, at::kFloat, at::kCPU);
    return std::pair{latents, decoder->decode(latents, *decoder->open())};
  };
  const auto [latents, frames] = through("v.safetensors", test::safetensors_of(vae));
  EXPECT_EQ(latents.sizes(), (at::IntArrayRef{2, 48, 2, 3}));
  EXPECT_EQ(frames.sizes(), clip.sizes());
  for (const auto& [file, bytes] : std::map<std::string, std::string>{
           {"diffusers.safetensors", test::safetensors_of(with_names(vae, vae_22_as_diffusers))},
           {"Wan2.2_VAE.pth", torch_of(vae)},
           {"prefixed.safetensors",
            test::safetensors_of(with_names(vae, [](const std::string& key) { return "vae." + key; }))}}) {
    const auto [same_latents, same_frames] = through(file, bytes);
    EXPECT_TRUE(same_latents.equal(latents)) << file;
    EXPECT_TRUE(same_frames.equal(frames)) << file;
  }
  const WeightMap diffusers = with_names(vae, vae_22_as_diffusers);
  for (const char* key :
       {"encoder.down_blocks.1.downsampler.time_conv.weight", "encoder.down_blocks.3.resnets.1.conv2.bias",
        "decoder.up_blocks.0.upsampler.resample.1.weight",
        "decoder.up_blocks.2.resnets.0.conv_shortcut.weight", "post_quant_conv.weight"})
    EXPECT_TRUE(diffusers.contains(key)) << key;
  EXPECT_EQ(parts_of(diffusers, "x").at(0).kind, PartKind::wan22_vae);

  vae.erase("encoder.conv1.weight");
  EXPECT_NE(test::message_of([&] {
              through("v.safetensors", test::safetensors_of(vae));
            }).find("encoder.conv1.weight"),
            std::string::npos);
  EXPECT_NE(
      test::message_of([&] {
        model["decoder"]["file"] = "diffusers.safetensors";
        folder.write("model.json", model.dump());
        make_frame_encoder(read_model(folder.path), at::kFloat, at::kCPU)->encode(at::rand({4, 3, 32, 48}));
      }).find("wan22_vae: cannot encode 4 frames"),
      std::string::npos);
  // Levels between which whole groups of values cannot be put together.
  EXPECT_NE(test::message_of([&] {
              model["decoder"]["config"]["dim_mult"] = {1, 3, 4, 20};
              folder.write("model.json", model.dump());
              make_decoder(read_model(folder.path), at::kFloat, at::kCPU);
            }).find("correct dim_mult"),
            std::string::npos);
}

// A LoRA of LightX2V's trainer: products, and differences of norms, biases and modulations.
TEST_F(Layouts, LorasChangeTheFramesAsMergedWeightsDo) {
  at::manual_seed(8);
  WeightMap lora, merged = transformer_;
  const auto change = [&](const std::string& key, const at::Tensor& difference) {
    merged[key] = transformer_.at(key) + difference * 0.5;
  };
  const std::string layer = "blocks.1.self_attn.q", head = "diffusion_model.";
  lora[head + layer + ".lora_down.weight"] = at::randn({4, 64});
  lora[head + layer + ".lora_up.weight"] = at::randn({64, 4});
  change(layer + ".weight",
         at::matmul(lora[head + layer + ".lora_up.weight"], lora[head + layer + ".lora_down.weight"]));
  for (const auto& [theirs, ours] :
       std::map<std::string, std::string>{{"blocks.0.norm3.diff", "blocks.0.norm3.weight"},
                                          {"blocks.0.norm3.diff_b", "blocks.0.norm3.bias"},
                                          {"blocks.1.diff_m", "blocks.1.modulation"},
                                          {"head.diff_m", "head.modulation"},
                                          {"patch_embedding.diff", "patch_embedding.weight"}}) {
    lora[head + theirs] = at::randn_like(transformer_.at(ours));
    change(ours, lora[head + theirs]);
  }
  folder_.write("lora.safetensors", test::safetensors_of(lora));
  folder_.write("lora.pt", torch_of(lora, "generator_lora/"));
  folder_.write("merged.safetensors", test::safetensors_of(merged));
  folder_.write("diffusers.safetensors", test::safetensors_of(with_names(transformer_, as_diffusers)));
  const at::Tensor expected = with("transformer", {{"file", "merged.safetensors"}});
  EXPECT_FALSE(expected.equal(frames()));
  for (const char* base : {"t.safetensors", "diffusers.safetensors"}) {
    const at::Tensor one =
        with("transformer", {{"file", base}, {"loras", {{{"file", "lora.safetensors"}, {"scale", 0.5}}}}});
    EXPECT_TRUE(one.allclose(expected, 1e-4, 1e-4)) << base;
    // Twice with half of the scale, once under a key.
    const at::Tensor two =
        with("transformer", {{"file", base},
                             {"loras",
                              {{{"file", "lora.safetensors"}, {"scale", 0.25}},
                               {{"file", "lora.pt"}, {"key", "generator_lora"}, {"scale", 0.25}}}}});
    EXPECT_TRUE(two.allclose(expected, 1e-4, 1e-4)) << base;
  }
}

// What a model would take is told from the headers, whatever is around the weights.
TEST_F(Layouts, PlanTheSameMemory) {
  const auto bytes = [&](const char* file, const json& fields) {
    json model = model_;
    model["transformer"].update(fields);
    model["transformer"]["file"] = file;
    folder_.write("model.json", model.dump());
    const ModelPackage package = read_model(folder_.path);
    return section_bytes(package, package.transformer);
  };
  test::TorchFile both;
  for (const auto& [name, tensor] : transformer_) {
    both.add("generator/" + name, tensor);
    both.add("generator_ema/" + name, tensor);
  }
  folder_.write("both.pt", both.bytes());
  folder_.write("q.gguf", gguf_of_weights(transformer_, true));
  const uint64_t expected = bytes("t.safetensors", json::object());
  int64_t values = 0;
  for (const auto& [name, tensor] : transformer_) values += tensor.numel();
  EXPECT_EQ(expected, 2U * values);
  EXPECT_EQ(bytes("both.pt", {{"key", "generator"}}), expected);
  EXPECT_EQ(bytes("q.gguf", json::object()), expected);
}

namespace {

const std::filesystem::path templates = FLOWCACHE_SOURCE_DIR "/models/templates";

std::vector<std::string> missing_of(const ModelPackage& package) {
  std::vector<std::string> missing;
  for (const PackageFile& file : package_files(package))
    if (!file.present) missing.push_back(file.name);
  return missing;
}

}  // namespace

// A folder as diffusers publishes it: every part is found by its keys, whatever it is called.
TEST_F(Layouts, OfADiffusersFolderAreAdopted) {
  const TempFolder download;
  for (const char* part : {"transformer", "vae", "text_encoder", "tokenizer", "scheduler", ".cache"})
    std::filesystem::create_directory(download.path / part);
  WeightMap first, second;
  for (const auto& [name, tensor] : with_names(transformer_, as_diffusers))
    (first.size() < 20 ? first : second)[name] = tensor;
  download.write("transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
                 test::safetensors_of(first));
  download.write("transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
                 test::safetensors_of(second));
  download.write("transformer/config.json", R"({"num_attention_heads": 2, "attention_head_dim": 32})");
  download.write("vae/diffusion_pytorch_model.safetensors",
                 test::safetensors_of(with_names(vae_, vae_as_diffusers)));
  download.write("text_encoder/model.safetensors",
                 test::safetensors_of(with_names(text_, umt5_as_huggingface)));
  download.write(".cache/other.safetensors", "not looked at");
  download.write("model_index.json", "{}");
  std::filesystem::copy_file(folder_.path / "spiece.model", download.path / "tokenizer/spiece.model");

  const json report = adopt({.given = {download.path}, .templates = templates});
  EXPECT_EQ(report.at("name"), "self-forcing-1.3b");
  EXPECT_EQ(report.at("sure"), "a guess");
  EXPECT_EQ(report.at("parts").size(), 4U) << report;
  EXPECT_TRUE(report.at("unused").empty()) << report;
  const ModelPackage package = read_model(download.path);
  EXPECT_TRUE(missing_of(package).empty());
  EXPECT_TRUE(check_present_keys(package).empty()) << check_present_keys(package).front();
  EXPECT_EQ(package.transformer.at("config").at("num_heads"), 2);
  EXPECT_EQ(package.text.at("tokenizer"), "tokenizer/spiece.model");
  EXPECT_NO_THROW(make_transformer(package, at::kFloat, at::kCPU));
  EXPECT_NO_THROW(make_text_encoder(package, at::kCPU));
  EXPECT_NO_THROW(make_decoder(package, at::kFloat, at::kCPU));

  EXPECT_NE(
      test::message_of([&] { adopt({.given = {download.path}, .templates = templates}); }).find("--replace"),
      std::string::npos);
  EXPECT_EQ(
      adopt({.given = {download.path}, .templates = templates, .as = "causal-forcing-1.3b", .replace = true})
          .at("name"),
      "causal-forcing-1.3b");
  EXPECT_NE(test::message_of([&] {
              adopt({.given = {download.path}, .templates = templates, .as = "no-such", .replace = true});
            }).find("longlive-1.3b"),
            std::string::npos);
}

// Files of a training and of ComfyUI, in several places: linked into a folder, with what is missing under its published name.
TEST_F(Layouts, OfSingleFilesAreAdopted) {
  const TempFolder here, there, to;
  test::TorchFile both;
  for (const auto& [name, tensor] : transformer_) {
    both.add("generator/model." + name, at::zeros_like(tensor));
    both.add("generator_ema/model." + name, tensor);
  }
  const auto transformer = here.write("self_forcing_dmd.pt", both.bytes());
  WeightMap comfy = with_names(in_fp8(text_, "scale_weight", false).first, umt5_as_huggingface);
  const std::string pieces = [&] {
    std::ifstream file(folder_.path / "spiece.model", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  comfy["spiece_model"] =
      at::from_blob(const_cast<char*>(pieces.data()), {static_cast<int64_t>(pieces.size())}, at::kByte)
          .clone();
  const auto text = there.write("umt5_xxl_fp8_e4m3fn_scaled.safetensors", test::safetensors_of(comfy));
  const auto lora =
      there.write("style.safetensors", test::safetensors_of({{"a.lora_A.weight", at::ones({2, 2})}}));
  const auto junk =
      there.write("other.safetensors", test::safetensors_of({{"something.else", at::ones({2})}}));

  const json report =
      adopt({.given = {transformer, text, lora, junk}, .to = to.path / "model", .templates = templates});
  EXPECT_EQ(report.at("name"), "self-forcing-1.3b");
  EXPECT_EQ(report.at("sure"), "by its name");
  EXPECT_EQ(report.at("unused").size(), 2U) << report;
  const ModelPackage package = read_model(to.path / "model");
  EXPECT_EQ(package.transformer.at("key"), "generator_ema");
  EXPECT_EQ(missing_of(package), std::vector<std::string>{"Wan2.1_VAE.pth"});
  EXPECT_TRUE(check_present_keys(package).empty()) << check_present_keys(package).front();
  EXPECT_NO_THROW(make_text_encoder(package, at::kCPU)) << "its tokenizer was taken out of the weights";
  EXPECT_NE(test::message_of([&] {
              adopt({.given = {transformer, text}, .templates = templates});
            }).find("--to"),
            std::string::npos);
  EXPECT_NE(test::message_of([&] {
              adopt({.given = {junk}, .to = to.path / "x", .templates = templates});
            }).find("something.else"),
            std::string::npos);
  EXPECT_NE(test::message_of([&] {
              adopt({.given = {"/nowhere"}, .templates = templates});
            }).find("no file or folder"),
            std::string::npos);
}

// Models of one network differ in their names only, and a name that no template has is said to be none.
TEST_F(Layouts, OfOneNetworkAreToldApartByTheirNames) {
  const TempFolder download, to;
  const std::string bytes = test::safetensors_of(transformer_);
  const auto adopted = [&](const std::string& name) {
    const std::filesystem::path file = download.path / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    return adopt({.given = {file}, .to = to.path / "model", .templates = templates, .replace = true});
  };
  const std::pair<const char*, const char*> named[] = {
      {"checkpoints/self_forcing_dmd.pt", "self-forcing-1.3b"},
      {"chunkwise/causal_forcing.pt", "causal-forcing-1.3b"},
      {"LongLive-1.3B/models/longlive_base.pt", "longlive-1.3b"},
      {"autoregressive_checkpoint/model.pt", "causvid-1.3b"},
      {"SkyReels-V2-DF-1.3B-540P/model.safetensors", "skyreels-v2-df-1.3b-540p"},
  };
  for (const auto& [file, name] : named) {
    const json report = adopted(file);
    EXPECT_EQ(report.at("name"), name) << file;
    EXPECT_EQ(report.at("sure"), "by its name") << file;
  }
  for (const char* file : {"model.safetensors", "krea-realtime-video-14b.safetensors", "longlive-2/model.pt",
                           "fastwan/model.pt", "causal-forcing/chunkwise/longvideo.pt"})
    EXPECT_EQ(adopted(file).at("sure"), "a guess") << file;
  EXPECT_NE(adopted("krea/x.safetensors").at("why").get<std::string>().find("\"krea\" is in its path"),
            std::string::npos);
}

// Models of one network are told apart by the names of their files.
TEST_F(Layouts, OfModelsOfOneNetworkAreToldApartByName) {
  const std::string bytes = torch_of(transformer_, "generator_ema/model.");
  const auto adopted = [&](const std::string& file) {
    const TempFolder download;
    std::filesystem::create_directories((download.path / file).parent_path());
    download.write(file, bytes);
    const json report = adopt({.given = {download.path}, .templates = templates});
    EXPECT_EQ(report.at("sure"), "by its name") << file;
    return report.at("name").get<std::string>();
  };
  EXPECT_EQ(adopted("checkpoints/self_forcing_dmd.pt"), "self-forcing-1.3b");
  EXPECT_EQ(adopted("checkpoints/self_forcing_sid.pt"), "self-forcing-sid-1.3b");
  EXPECT_EQ(adopted("Causal-Forcing/chunkwise/causal_forcing.pt"), "causal-forcing-1.3b");
  EXPECT_EQ(adopted("Causal-Forcing/framewise/causal_forcing.pt"), "causal-forcing-framewise-1.3b");
  EXPECT_EQ(adopted("causal-forcing++/framewise-2step.pt"), "causal-forcing-framewise-2step-1.3b");
  EXPECT_EQ(adopted("causal-forcing++/framewise-1step.pt"), "causal-forcing-framewise-1step-1.3b");
  EXPECT_EQ(adopted("SFWan2.1-T2V-1.3B-Diffusers/transformer/a.pt"), "self-forcing-1.3b");
}

// The large ones by their shapes first.
TEST_F(Layouts, OfLargerWansAreToldApart) {
  const auto wan = [](int64_t dim, int64_t channels) {
    return WeightMap{{"model.patch_embedding.weight", at::zeros({dim, channels, 1, 2, 2}).to(at::kBFloat16)},
                     {"model.blocks.0.self_attn.q.weight", at::zeros({1, 1})},
                     {"model.blocks.0.ffn.0.weight", at::zeros({2, 1})},
                     {"model.time_embedding.0.weight", at::zeros({1, 256})},
                     {"model.text_embedding.0.weight", at::zeros({1, 4096})},
                     {"model.head.head.weight", at::zeros({4 * channels, 1})}};
  };
  const TempFolder krea, longlive;
  krea.write("krea-realtime-video-14b.safetensors", test::safetensors_of(wan(5120, 16)));
  json report = adopt({.given = {krea.path}, .templates = templates});
  EXPECT_EQ(report.at("name"), "krea-realtime-14b");
  EXPECT_EQ(report.at("sure"), "by its name");
  EXPECT_EQ(read_model(krea.path).transformer.at("config").at("num_heads"), 40);

  longlive.write("model_bf16.safetensors", test::safetensors_of(wan(3072, 48)));
  longlive.write("vae.safetensors", test::safetensors_of(vae_));
  report = adopt({.given = {longlive.path}, .templates = templates});
  EXPECT_EQ(report.at("name"), "longlive-2.0-5b");
  ASSERT_EQ(report.at("unused").size(), 1U) << report;
  EXPECT_NE(report.at("unused")[0].at("what").get<std::string>().find("latents have 48"), std::string::npos);
  EXPECT_EQ(read_model(longlive.path).decoder.at("file"), "taew2_2.pth");

  // Wan 2.2's VAE decodes its latents; if the template's own decoder is there, too, that does.
  WeightMap vae = read_weights(golden_cases / "wan22-vae-decode-stream/weights.safetensors");
  longlive.write("Wan2.2_VAE.pth", torch_of(vae));
  adopt({.given = {longlive.path}, .templates = templates, .replace = true});
  json decoder = read_model(longlive.path).decoder;
  EXPECT_EQ(decoder.at("kind"), "wan22_vae");
  EXPECT_EQ(decoder.at("file"), "Wan2.2_VAE.pth");
  EXPECT_EQ(decoder.at("config"), (json{{"dec_dim", 4}, {"z_dim", 48}}));
  longlive.write("taew2_2.pth",
                 torch_of(read_weights(golden_cases / "taehv22-decode-stream/weights.safetensors")));
  report = adopt({.given = {longlive.path}, .templates = templates, .replace = true});
  decoder = read_model(longlive.path).decoder;
  EXPECT_EQ(decoder.at("kind"), "taehv");
  EXPECT_EQ(decoder.at("config").at("n_f"), (json{20, 16, 12, 8}));
  EXPECT_EQ(decoder.at("config").at("patch_size"), 2);
  EXPECT_NE(report.at("unused").dump().find(R"(\"kind\": \"wan22_vae\")"), std::string::npos) << report;
}

// LightX2V's small decoder is for the VAE's own latents, and nothing in it says so.
TEST_F(Layouts, OfLightDecodersGetTheVaesStatistics) {
  const TempFolder download;
  download.write("self_forcing_dmd.pt", torch_of(transformer_, "generator_ema/model."));
  const WeightMap small = {{"decoder.1.weight", at::zeros({4, 16, 3, 3})},
                           {"decoder.3.conv.0.weight", at::zeros({1})}};
  for (const auto& [name, entries] :
       {std::pair{"taew2_1.safetensors", 0U}, {"lighttaew2_1.safetensors", 16U}}) {
    const std::filesystem::path file = download.write(name, test::safetensors_of(small));
    adopt({.given = {download.path}, .templates = templates, .replace = true});
    const json config = read_model(download.path).decoder.at("config");
    EXPECT_EQ(config.value("latents_mean", json::array()).size(), entries) << name;
    EXPECT_EQ(config.value("latents_std", json::array()).size(), entries) << name;
    std::filesystem::remove(file);
  }
}

// What each kind of file is taken for.
TEST_F(Layouts, AreToldApart) {
  const auto kind = [](const std::string& name) {
    return parts_of(read_weights(golden_cases / name / "weights.safetensors"), name).at(0);
  };
  EXPECT_EQ(kind("skyreels-df-transformer").kind, PartKind::wan);
  EXPECT_EQ(kind("magi-dit-window").kind, PartKind::magi);
  EXPECT_EQ(kind("t5-v1_1-encode").kind, PartKind::t5);
  EXPECT_EQ(kind("umt5-encode").kind, PartKind::umt5);
  EXPECT_EQ(kind("wan-vae-decode-stream").kind, PartKind::wan_vae);
  EXPECT_EQ(kind("taehv-decode-stream").kind, PartKind::taehv);
  EXPECT_EQ(kind("wan22-vae-decode-stream").kind, PartKind::wan22_vae);
  EXPECT_EQ(kind("wan-causal-kv").config.at("num_layers"), 2);
  const WeightMap image = {{"patch_embedding.weight", at::ones({4, 16, 1, 2, 2})},
                           {"blocks.0.self_attn.q.weight", at::ones({4, 4})},
                           {"head.head.weight", at::ones({64, 4})},
                           {"img_emb.proj.1.weight", at::ones({4, 4})}};
  EXPECT_NE(parts_of(image, "x").at(0).what.find("image-to-video"), std::string::npos);
}
