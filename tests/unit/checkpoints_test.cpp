// SPDX-License-Identifier: LGPL-2.1-or-later
// Code around the public checkpoints: prompt cleaning, position buckets, LoRA, T5, and MAGI-1 in bf16.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "../peak_memory.h"
#include "base/error.h"
#include "families/magi/magi.h"
#include "families/magi/magi_guidance.h"
#include "families/magi/prompt_cleaning.h"
#include "networks/decoders/magi_vae.h"
#include "networks/decoders/tiles.h"
#include "networks/lora.h"
#include "networks/lora_names.h"
#include "networks/random_weights.h"
#include "networks/text/prompt_cleaning.h"
#include "networks/text/t5.h"
#include "package/deferred.h"
#include "rounding.h"
#include "samplers/unipc.h"

using namespace flowcache;

namespace {

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

MagiConfig tiny_magi() {
  MagiConfig c;
  c.layers = 2;
  c.hidden = c.text = 64;
  c.ffn = 128;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.condition = 16;
  c.caption_channels = 24;
  c.caption_length = 12;
  c.distilled = true;
  return c;
}

}  // namespace

TEST(PromptCleaning, WanKeepsWordsAndRepairsText) {
  EXPECT_EQ(plain_prompt("  two   spaces\tand\nlines "), "two spaces and lines");
  EXPECT_EQ(plain_prompt("sea &amp;amp; &#65;&#x42; &copy &notin;"), "sea & AB © ∉");
  EXPECT_EQ(plain_prompt("sch\xC3\x83\xC2\xB6n"), "schön");
  EXPECT_EQ(plain_prompt("caf\xC3\xA9"), "café");
  EXPECT_EQ(plain_prompt("cafe\xCC\x81"), "caf\xC3\xA9");
  EXPECT_EQ(
      plain_prompt("A\xCC\x8A q\xCC\x87\xCC\xA3 \xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"),
      "\xC3\x85 q\xCC\xA3\xCC\x87 \xED\x95\x9C");  // a mark with no letter of its own is ordered; Hangul is joined
  EXPECT_EQ(plain_prompt("“a” ‘b’ ＦＵＬＬ ｶﾞ ﬁ"), "\"a\" 'b' FULL ガ fi");
  EXPECT_EQ(plain_prompt("\x1b[31mred\x01"), "red");
  EXPECT_EQ(plain_prompt("\xff\xfe"), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(PromptCleaning, MagiDropsWhatNoCaptionSays) {
  EXPECT_EQ(clean_magi_prompt("A Slow GREEN Aurora"), "a slow green aurora");
  EXPECT_EQ(clean_magi_prompt("cat @someone https://example.org/x [HD] #12"), "cat hd");
  EXPECT_EQ(clean_magi_prompt("this-is-my-cute-cat"), "this is my cute cat");
  EXPECT_EQ(clean_magi_prompt("photo_1.png of 一只猫 a dog"), "of a dog");
  EXPECT_EQ(clean_magi_prompt("<b>bold</b> move"), "bold move");
  EXPECT_EQ(clean_magi_prompt(std::string(100000, 'a')), std::string(200, 'a'));
}

TEST(T5, BucketsAsPublished) {
  const std::pair<int, int> table[] = {{-128, 15}, {-64, 14}, {-16, 10}, {-8, 8},  {-1, 1},
                                       {0, 0},     {1, 17},   {8, 24},   {12, 25}, {16, 26},
                                       {23, 27},   {32, 28},  {46, 29},  {64, 30}, {91, 31}};
  for (const auto& [relative, bucket] : table) EXPECT_EQ(t5_bucket(relative, 32, 128), bucket) << relative;
}

// The golden case of UMT5 in the naming of the Wan project, under the names and the config of transformers.
TEST(T5, Umt5InHuggingFaceNamingHasATableInEachBlock) {
  const std::filesystem::path folder = FLOWCACHE_SOURCE_DIR "/tests/golden/umt5-encode";
  const nlohmann::json config = {{"d_model", 48},
                                 {"d_kv", 16},
                                 {"d_ff", 96},
                                 {"num_heads", 4},
                                 {"num_layers", 3},
                                 {"vocab_size", 300},
                                 {"feed_forward_proj", "gated-gelu"}};
  const std::pair<const char*, const char*> names[] = {
      {"token_embedding.", "shared."},
      {"blocks.", "encoder.block."},
      {".norm1.", ".layer.0.layer_norm."},
      {".attn.", ".layer.0.SelfAttention."},
      {".pos_embedding.embedding.", ".layer.0.SelfAttention.relative_attention_bias."},
      {".norm2.", ".layer.1.layer_norm."},
      {".ffn.gate.0.", ".layer.1.DenseReluDense.wi_0."},
      {".ffn.fc1.", ".layer.1.DenseReluDense.wi_1."},
      {".ffn.fc2.", ".layer.1.DenseReluDense.wo."}};
  WeightMap weights;
  for (const auto& [key, tensor] : read_safetensors(folder / "weights.safetensors")) {
    std::string name = key == "norm.weight" ? "encoder.final_layer_norm.weight" : key;
    for (const auto& [from, to] : names)
      if (const size_t at = name.find(from); at != std::string::npos && key != "norm.weight")
        name.replace(at, std::string(from).size(), to);
    weights.emplace(name, tensor);
  }
  nlohmann::json by_type = config, by_class = config;
  by_type["model_type"] = "umt5";
  by_class["architectures"] = {"UMT5EncoderModel"};
  const WeightMap tensors = read_safetensors(folder / "tensors.safetensors");
  for (const T5Config& one : {T5Config::from_json(by_type), T5Config::from_json(by_class),
                              T5Config::of_section({{"kind", "umt5"}, {"config", config}})}) {
    const T5Encoder encoder(one, weights, at::kFloat, at::kCPU, "umt5");
    const at::Tensor mask = tensors.at("in.mask"), real = mask.ne(0);
    const at::Tensor hidden = encoder.encode(tensors.at("in.ids"), mask);
    EXPECT_TRUE(at::allclose(hidden * real.unsqueeze(1), tensors.at("out.context"), 1e-4, 1e-4));
  }
  EXPECT_TRUE(T5Config::from_json(config).shared_positions);  // T5
}

TEST(UniPc, ScalarTrace) {
  const auto sampler = make_unipc(5, 8);
  const auto state = sampler->begin_chunk();
  at::Tensor x = at::ones({1});
  const double want[] = {.981805, .95440391, .90838676, .81404054, .47616794};
  for (int k = 0; k < 5; ++k) {
    x = state->step(x, 0.5 * x + 0.1, k, {});
    EXPECT_NEAR(x.item<double>(), want[k], 2e-6);
  }
}

TEST(UniPc, Bf16LatentStaysNearFp32) {
  const auto sampler = make_unipc(8, 5);
  const auto narrow = sampler->begin_chunk(), wide = sampler->begin_chunk();
  at::Tensor a = at::linspace(-2, 2, 64).to(at::kBFloat16), b = a.to(at::kFloat);
  for (int k = 0; k < 8; ++k) {
    a = narrow->step(a, a.to(at::kFloat).sin(), k, {});
    b = wide->step(b, b.sin(), k, {});
    ASSERT_EQ(a.scalar_type(), at::kBFloat16);
  }
  EXPECT_LT((a.to(at::kFloat) - b).abs().max().item<double>(), 0.05);
  EXPECT_GT((a.to(at::kFloat) - b).abs().max().item<double>(), 0);
}

// Those weights of a Wan block that LoRAs can change.
WeightMap wan_weights() {
  WeightMap weights;
  for (const char* layer :
       {"blocks.0.self_attn.q", "blocks.0.self_attn.o", "blocks.0.cross_attn.k", "blocks.0.cross_attn.o",
        "blocks.0.ffn.0", "blocks.0.ffn.2", "blocks.0.norm3", "blocks.10.self_attn.q", "text_embedding.0",
        "time_embedding.2", "time_projection.1", "head.head"}) {
    weights.emplace(std::string(layer) + ".weight", at::eye(3));
    weights.emplace(std::string(layer) + ".bias", at::zeros({3}));
  }
  weights.emplace("blocks.0.modulation", at::zeros({1, 6, 3}));
  return weights;
}

TEST(Lora, FindsTheLayerHoweverItIsSpelled) {
  const LayerNames names(wan_weights());
  const std::pair<const char*, const char*> spellings[] = {
      {"blocks.0.self_attn.q", "blocks.0.self_attn.q"},
      {"diffusion_model.blocks.0.self_attn.q", "blocks.0.self_attn.q"},
      {"model.diffusion_model.blocks.0.self_attn.q", "blocks.0.self_attn.q"},
      {"base_model.model.blocks.0.self_attn.q", "blocks.0.self_attn.q"},
      {"pipe.dit.blocks.0.self_attn.q", "blocks.0.self_attn.q"},
      {"lora_unet_blocks_0_self_attn_q", "blocks.0.self_attn.q"},
      {"lora_unet__blocks_0_self_attn_q", "blocks.0.self_attn.q"},
      {"lora_unet_blocks_0.self_attn.q", "blocks.0.self_attn.q"},
      {"lora_unet_blocks_10_self_attn_q", "blocks.10.self_attn.q"},
      {"model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.self_attn.q", "blocks.0.self_attn.q"},
      {"transformer.blocks.0.attn1.to_q", "blocks.0.self_attn.q"},
      {"transformer.blocks.0.attn1.to_out.0", "blocks.0.self_attn.o"},
      {"transformer.blocks.0.attn2.to_k", "blocks.0.cross_attn.k"},
      {"lora_transformer_blocks_0_attn2_to_out_0", "blocks.0.cross_attn.o"},
      {"transformer.blocks.0.ffn.net.0.proj", "blocks.0.ffn.0"},
      {"transformer.blocks.0.ffn.net.2", "blocks.0.ffn.2"},
      {"transformer.blocks.0.norm2", "blocks.0.norm3"},
      {"transformer.condition_embedder.text_embedder.linear_1", "text_embedding.0"},
      {"transformer.condition_embedder.time_embedder.linear_2", "time_embedding.2"},
      {"transformer.condition_embedder.time_proj", "time_projection.1"},
      {"transformer.proj_out", "head.head"},
      {"diffusion_model.blocks.0", "blocks.0"},  // its modulation
      {"vace_blocks.0.self_attn.q", ""},         // another model's
      {"lora_te_blocks_0_self_attn_q", ""},      // of a text encoder
      {"blocks.1.self_attn.q", ""},
      {"", ""},
  };
  for (const auto& [spelled, layer] : spellings) EXPECT_EQ(names.find(spelled), layer) << spelled;
}

TEST(Lora, AddsTheProductWhateverItsHalvesAreCalled) {
  const WeightMap weights = wan_weights();
  const at::Tensor a = at::ones({2, 3}), b = at::ones({3, 2});
  const auto q = [&](const WeightMap& lora, double scale = 1) {
    return dense(merge_lora(weights, lora, scale, "x").at("blocks.0.self_attn.q.weight"));
  };
  const std::string layer = "diffusion_model.blocks.0.self_attn.q.";
  EXPECT_TRUE(q({{layer + "lora_A.weight", a}, {layer + "lora_B.weight", b}}, 0.5).equal(at::eye(3) + 1));
  const std::pair<const char*, const char*> halves[] = {{"lora_A.weight", "lora_B.weight"},
                                                        {"lora_A.default.weight", "lora_B.default.weight"},
                                                        {"lora_A.my_style.weight", "lora_B.my_style.weight"},
                                                        {"lora_down.weight", "lora_up.weight"},
                                                        {"lora.down.weight", "lora.up.weight"}};
  for (const auto& [down, up] : halves) {
    EXPECT_TRUE(q({{layer + down, a}, {layer + up, b}}).equal(at::eye(3) + 2)) << down;
    for (const at::Tensor& alpha : {at::tensor(1.0), at::tensor({int64_t{1}})})
      EXPECT_TRUE(q({{layer + down, a}, {layer + up, b}, {layer + "alpha", alpha}}).equal(at::eye(3) + 1))
          << down;
  }
  EXPECT_TRUE(weights.at("blocks.0.self_attn.q.weight").equal(at::eye(3)));
}

TEST(Lora, AddsWholeDifferences) {
  const WeightMap merged = merge_lora(wan_weights(),
                                      {{"diffusion_model.blocks.0.norm3.diff", at::ones({3, 3})},
                                       {"diffusion_model.blocks.0.norm3.diff_b", at::ones({3})},
                                       {"diffusion_model.blocks.0.diff_m", at::ones({1, 6, 3})}},
                                      2, "x");
  EXPECT_TRUE(dense(merged.at("blocks.0.norm3.weight")).equal(at::eye(3) + 2));
  EXPECT_TRUE(dense(merged.at("blocks.0.norm3.bias")).equal(at::full({3}, 2.0)));
  EXPECT_TRUE(dense(merged.at("blocks.0.modulation")).equal(at::full({1, 6, 3}, 2.0)));
}

TEST(Lora, SeveralAddUpEachWithItsScale) {
  const WeightMap weights = {{"a.weight", at::full({2, 2}, 1.0)}, {"b.weight", at::ones({2})}};
  const auto lora = [](double value) {
    return WeightMap{{"a.lora_A.weight", at::full({1, 2}, value)}, {"a.lora_B.weight", at::ones({2, 1})}};
  };
  const WeightMap both = merge_lora(merge_lora(weights, lora(2), 0.5, "x"), lora(3), -1, "y");
  EXPECT_TRUE(dense(both.at("a.weight")).equal(at::full({2, 2}, 1.0 + 0.5 * 2 - 3)));
  EXPECT_TRUE(both.at("b.weight").is_same(weights.at("b.weight")));
  EXPECT_EQ(both.at("a.weight").sizes(), weights.at("a.weight").sizes());
}

// What a LoRA changes is made when its network takes it, one weight at a time.
TEST(Lora, TakesNoMemoryBeforeItsWeightsAreUsed) {
  const c10::InferenceMode inference;
  WeightMap weights, lora;
  for (const char* layer : {"a", "b", "c", "d"}) {
    weights[std::string(layer) + ".weight"] = at::ones({1024, 1024});
    lora[std::string(layer) + ".lora_A.weight"] = at::ones({1, 1024});
    lora[std::string(layer) + ".lora_B.weight"] = at::ones({1024, 1});
  }
  WeightMap merged;
  EXPECT_LT(test::peak_bytes([&] { merged = merge_lora(weights, lora, 1, "x"); }), 1 << 20);
  const int64_t one = test::peak_bytes([&] { dense(merged.at("a.weight")); });
  EXPECT_LT(test::peak_bytes([&] {
              for (const auto& [name, weight] : merged) dense(weight);
            }),
            one + (1 << 20));
}

TEST(Lora, ChangesWeightsThatAreKeptIn8Bits) {
  const at::Tensor eight = at::full({2, 2}, 2.0).to(at::kFloat8_e4m3fn), down = at::full({1, 2}, 0.01),
                   up = at::ones({2, 1});
  const WeightMap lora = {{"a.lora_A.weight", down}, {"a.lora_B.weight", up}};
  const at::Tensor scaled = scaled_weight(eight, at::tensor(0.5F), {2, 2});
  EXPECT_TRUE(dense(merge_lora({{"a.weight", scaled}}, lora, 1, "x").at("a.weight"))
                  .allclose(at::full({2, 2}, 1.01)));
  // Rounded to fp8 again, the difference would be lost.
  EXPECT_TRUE(
      dense(merge_lora({{"a.weight", eight}}, lora, 1, "x").at("a.weight")).allclose(at::full({2, 2}, 2.01)));
}

TEST(Lora, NamesWhatDoesNotFit) {
  const WeightMap weights = {{"a.weight", at::eye(3)}};
  const at::Tensor down = at::ones({2, 3}), up = at::ones({3, 2});
  const auto with = [](at::Tensor tensor, double value) {
    tensor = tensor.clone();
    tensor.view({-1})[1] = value;
    return tensor;
  };
  const std::pair<WeightMap, const char*> table[] = {
      {{{"b.lora_A.weight", down}, {"b.lora_B.weight", up}}, "this model has no b (b.lora_A.weight)"},
      {{{"a.lora_A.weight", down}}, "one half"},
      {{{"a.lora_A.weight", at::ones({2, 4})}, {"a.lora_B.weight", up}}, "[2, 4]"},
      {{{"a.weight", at::eye(3)}}, "no part of a LoRA"},
      {{{"a.hada_w1_a", down}}, "\"a.hada_w1_a\" belongs to a LoHa, which is not merged"},
      {{{"a.lora_A.weight", down}, {"a.lora_B.weight", up}, {"a.dora_scale", at::ones({3, 1})}},
       "belongs to a DoRA"},
      {{{"a.lora_magnitude_vector.default.weight", at::ones({3})}}, "belongs to a DoRA"},
      {{{"a.lokr_w1", down}}, "belongs to a LoKr"},
      {{}, "nothing in it"},
      {{{"a.alpha", at::tensor(1.0)}}, "an alpha and nothing else"},
      {{{"a.lora_A.weight", down}, {"a.lora_B.weight", up}, {"a.alpha", at::empty({0})}},
       "\"a.alpha\" has 0 values"},
      {{{"a.lora_A.weight", down}, {"a.lora_B.weight", up}, {"a.alpha", at::tensor({1., 2.})}},
       "has 2 values"},
      {{{"a.lora_A.weight", down}, {"a.lora_B.weight", up}, {"a.alpha", at::tensor(NAN)}},
       "\"a.alpha\" has values that are not finite"},
      {{{"a.lora_A.weight", with(down, NAN)}, {"a.lora_B.weight", up}},
       "\"a.lora_A.weight\" has values that are not finite"},
      {{{"a.lora_A.weight", down}, {"a.lora_B.weight", with(up, INFINITY)}},
       "\"a.lora_B.weight\" has values that are not finite"},
      {{{"a.diff", with(at::eye(3), NAN)}}, "\"a.diff\" has values that are not finite"},
      {{{"a.lora_A.weight", down.to(at::kInt)}, {"a.lora_B.weight", up}}, "holds Int"},
      {{{"a.lora_A.weight", down}, {"a.lora_A.style.weight", down}, {"a.lora_B.weight", up}},
       "for a second time"},
  };
  for (const auto& [lora, says] : table) {
    const std::string message =
        message_of([&, &lora = lora] { merge_lora(weights, lora, 1, "style.safetensors"); });
    EXPECT_NE(message.find(says), std::string::npos) << says << ": " << message;
    EXPECT_NE(message.find("style.safetensors"), std::string::npos) << message;
  }
}

// A model with small random weights, which are the same for every precision.
std::unique_ptr<MagiTransformer> random_magi(const MagiConfig& config, at::ScalarType type) {
  const auto build = [&](const WeightMap& weights) {
    return std::make_unique<MagiTransformer>(config, weights, type, at::kCPU, "random MAGI");
  };
  at::manual_seed(1);
  WeightMap weights;
  for (const WeightSpec& one : wanted_by(build)) weights[one.name] = at::randn(one.shape) * 0.02;
  return build(weights);
}

TEST(Magi, Bf16StaysNearFp32) {
  const auto wide = random_magi(tiny_magi(), at::kFloat), half = random_magi(tiny_magi(), at::kBFloat16);
  const MagiTransformer &one = *wide, &narrow = *half;
  const at::Tensor x = at::randn({16, 6, 4, 4}), caption = at::randn({5, 24});
  OwnKeys own;
  const at::Tensor a = one.forward(x, 0.3, 0, *one.condition(caption), own);
  const at::Tensor b = narrow.forward(x, 0.3, 0, *narrow.condition(caption), own);
  EXPECT_EQ(a.sizes(), x.sizes());
  EXPECT_LT((a - b).norm().item<double>(),
            test::rounding_error(at::kBFloat16, test::roundings_of(2)) * a.norm().item<double>());
}

TEST(Magi, SlicesGiveTheSameResultWithLessMemory) {
  const c10::InferenceMode inference;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // the peak of a single thread is measured
  MagiConfig config = tiny_magi();
  config.ffn = 512;
  const auto network = random_magi(config, at::kFloat);
  MagiTransformer& magi = *network;
  const at::Tensor x = at::randn({16, 6, 16, 16});  // 384 tokens
  const auto caption = magi.condition(at::randn({5, 24}));
  OwnKeys own;
  at::Tensor velocity;
  const auto peak = [&](int64_t slice) {
    magi.slice_tokens(slice);
    return test::peak_bytes([&] { velocity = magi.forward(x, 0.3, 0, *caption, own); });
  };
  const int64_t at_once = peak(0);
  const at::Tensor whole = velocity;
  for (const int slice : {100000, 128, 30, 1}) {
    const int64_t sliced = peak(slice);
    EXPECT_LE((velocity - whole).abs().max().item<double>(), 1e-5 * whole.abs().max().item<double>())
        << slice;
    if (slice == 30) {
      EXPECT_LT(sliced, 0.6 * at_once);
    } else if (slice == 100000) {
      EXPECT_EQ(sliced, at_once);
    }
  }
  at::set_num_threads(threads);
}

TEST(Magi, GuidanceSkipsWhatWeighsNothing) {
  const MagiGuidance guidance;
  EXPECT_TRUE(guidance.scales(0.2).needs_text() && guidance.scales(0.2).needs_alone());
  EXPECT_FALSE(guidance.scales(0.5).needs_text());
  EXPECT_FALSE(guidance.scales(0.5).needs_alone());
  const at::Tensor null = at::ones({2});
  EXPECT_TRUE(guidance.combine(0.5, {.text = {}, .null = null, .alone = {}}).equal(null));
}

TEST(Tiles, BlendNeighboursAndCoverTheClip) {
  const at::Tensor clip = at::arange(2 * 10 * 14, at::kFloat).view({1, 2, 10, 14});
  const Tiling tiling{.size = 8, .overlap = 2, .frames = 1};
  // Tiles that agree where they overlap give the clip itself.
  const at::Tensor same = run_tiled(clip, tiling, 1, [](const at::Tensor& tile) { return tile; });
  EXPECT_TRUE(same.allclose(clip));
  // If they do not agree, the second tile fades in from 0 to 1 over the overlap.
  int calls = 0;
  const at::Tensor steps = run_tiled(at::zeros({1, 1, 4, 14}), tiling, 1,
                                     [&](const at::Tensor& tile) { return at::full_like(tile, calls++); });
  EXPECT_EQ(calls, 3);
  EXPECT_FLOAT_EQ(steps[0][0][0][5].item<float>(), 0);
  EXPECT_FLOAT_EQ(steps[0][0][0][6].item<float>(), 0);
  EXPECT_FLOAT_EQ(steps[0][0][0][7].item<float>(), 0.5);
  EXPECT_FLOAT_EQ(steps[0][0][0][8].item<float>(), 1);
}

namespace {

// Random weights of a tiny VAE. Their names come from the error of loading an empty file.
WeightMap random_vae(const std::string& side, const MagiVaeConfig& c) {
  WeightMap weights;
  const auto put = [&](const std::string& name, std::vector<int64_t> shape) {
    weights[side + name] = at::randn(shape) * 0.2;
  };
  put("cls_token", {1, 1, c.dim});
  put("pos_embed", {1, c.grid_frames * c.grid_size * c.grid_size + 1, c.dim});
  for (const char* norm : {"norm", "blocks.0.norm2"}) {
    put(std::string(norm) + ".weight", {c.dim});
    put(std::string(norm) + ".bias", {c.dim});
  }
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    put(name + ".weight", {out, in});
    put(name + ".bias", {out});
  };
  linear("blocks.0.attn.qkv", 3 * c.dim, c.dim);
  linear("blocks.0.attn.proj", c.dim, c.dim);
  linear("blocks.0.mlp.fc1", 4 * c.dim, c.dim);
  linear("blocks.0.mlp.fc2", c.dim, 4 * c.dim);
  return weights;
}

MagiVaeConfig tiny_vae() {
  MagiVaeConfig c;
  c.dim = 32;
  c.depth = 1;
  c.heads = 2;
  c.patch_size = 2;
  c.grid_size = 4;
  c.tile_cells = 4;
  c.tile_overlap = 1;
  return c;
}

}  // namespace

TEST(MagiVae, StreamsInWholeTilesOfTime) {
  const MagiVaeConfig c = tiny_vae();
  WeightMap weights = random_vae("decoder.", c);
  weights["decoder.proj_in.weight"] = at::randn({c.dim, 16}) * 0.2;
  weights["decoder.proj_in.bias"] = at::zeros({c.dim});
  weights["decoder.last_layer.weight"] = at::randn({3, c.pixel_channels(), 3, 3, 3}) * 0.1;
  weights["decoder.last_layer.bias"] = at::zeros({3});
  weights["encoder.cls_token"] = at::zeros({1});  // weights of the other half are not checked
  const MagiVaeDecoder decoder(c, weights, at::kFloat, at::kCPU, "vae");
  const at::Tensor latents = at::randn({6, 16, 5, 6}) * 0.18215;
  const auto state = decoder.open();
  const at::Tensor whole = decoder.decode(latents, *state);
  EXPECT_EQ(whole.sizes(), at::IntArrayRef({24, 3, 10, 12}));
  EXPECT_GT(whole.std().item<double>(), 0.01);
  const at::Tensor halves = at::cat(
      {decoder.decode(latents.narrow(0, 0, 3), *state), decoder.decode(latents.narrow(0, 3, 3), *state)});
  EXPECT_TRUE(whole.allclose(halves, 1e-5, 1e-5));
}

TEST(MagiVae, EncodesAnImageAsOneLatentFrame) {
  const MagiVaeConfig c = tiny_vae();
  WeightMap weights = random_vae("encoder.", c);
  weights["encoder.patch_embed.proj.weight"] = at::randn({c.dim, 3, 4, 2, 2}) * 0.2;
  weights["encoder.patch_embed.proj.bias"] = at::zeros({c.dim});
  weights["encoder.last_layer.weight"] = at::randn({32, c.dim});
  weights["encoder.last_layer.bias"] = at::zeros({32});
  const MagiVaeEncoder encoder(c, weights, at::kFloat, at::kCPU, "vae");
  const at::Tensor image = at::rand({1, 3, 10, 12});
  EXPECT_EQ(encoder.encode(image).sizes(), at::IntArrayRef({1, 16, 5, 6}));
  EXPECT_TRUE(encoder.encode(image).allclose(encoder.encode(image.expand({4, -1, -1, -1})), 1e-5, 1e-5));
  EXPECT_NE(message_of([&] {
              encoder.encode(at::rand({6, 3, 10, 12}));
            }).find("6 frames"),
            std::string::npos);
}

// A chunk of six latents is two tiles in time: fed chunk by chunk, a clip gives the latents that it gives as a whole.
TEST(MagiVae, EncodesChunkByChunkWhatTheWholeClipGives) {
  const MagiVaeConfig c = tiny_vae();
  at::manual_seed(5);
  WeightMap weights = random_vae("encoder.", c);
  weights["encoder.patch_embed.proj.weight"] = at::randn({c.dim, 3, 4, 2, 2}) * 0.2;
  weights["encoder.patch_embed.proj.bias"] = at::zeros({c.dim});
  weights["encoder.last_layer.weight"] = at::randn({32, c.dim});
  weights["encoder.last_layer.bias"] = at::zeros({32});
  const MagiVaeEncoder encoder(c, weights, at::kFloat, at::kCPU, "vae");
  const at::Tensor clip = at::rand({72, 3, 10, 12});
  const at::Tensor whole = encoder.encode(clip);
  EXPECT_GT(whole.std().item<double>(), 0.01);
  const auto state = encoder.open();
  for (int64_t chunk = 0; chunk < 3; ++chunk) {
    ASSERT_EQ(encoder.frames_for(6, *state), 24);
    const at::Tensor own = encoder.encode_next(clip.narrow(0, 24 * chunk, 24), *state);
    EXPECT_TRUE(own.allclose(whole.narrow(0, 6 * chunk, 6), 1e-5, 1e-5)) << "chunk " << chunk;
  }
}
