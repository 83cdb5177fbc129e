// SPDX-License-Identifier: LGPL-2.1-or-later
// Downloads that are incomplete or mixed up: one message names each fault.
#include <gtest/gtest.h>

#include "families/preflight.h"
#include "package/files.h"
#include "temp_folder.h"

namespace flowcache {
namespace {

using nlohmann::json;
using test::message_of;
using test::TempFolder;

json checkpoint() {
  return json::parse(R"({
    "name": "tiny", "family": "wan-causal", "license": "LGPL-2.1-or-later",
    "video": {"width": 320, "height": 192, "framerate": "16/1", "latent_frames_per_chunk": 3, "frames_per_chunk": 12},
    "transformer": {"file": "t.safetensors", "loras": [{"file": "style.safetensors"}],
      "config": {"dim": 192, "num_heads": 3, "num_layers": 8, "ffn_dim": 768, "patch_size": [1, 2, 2], "out_dim": 16}},
    "text": {"kind": "umt5", "files": ["w-1.safetensors", "w-2.safetensors"], "device": "cpu", "precision": "bf16"},
    "decoder": {"kind": "wan_vae", "file": "d.safetensors"},
    "sampler": {"kind": "unipc", "steps": 50, "shift": 8.0, "guidance_scale": 6.0, "lag": 10},
    "cache": {"reuse": "flowcache", "threshold": 0.2, "kv": "window", "history_chunks": 3},
    "sources": {"transformer files": "the first place", "w-*.safetensors": "the second", "spiece.model": "the third"}})");
}

void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
}

TEST(Files, EveryMissingOneIsNamedWithItsSource) {
  const TempFolder folder;
  folder.write("model.json", checkpoint().dump());
  folder.write("d.safetensors", "x");
  const ModelPackage package = read_package(folder.path);
  const std::string message = message_of([&] { check_files(package); });
  expect_parts(message, {"5 files", "t.safetensors (transformer): from the first place", "style.safetensors",
                         "w-1.safetensors (text): from the second", "w-2.safetensors",
                         "spiece.model (text): from the third"});
  EXPECT_EQ(message.find("d.safetensors"), std::string::npos) << message;
  EXPECT_EQ(message, message_of([&] { package.weight_bytes(); }));
  EXPECT_EQ(package_files(package).size(), 6U);
}

TEST(Files, NothingIsMissingFromRandomWeights) {
  const TempFolder folder;
  folder.write("model.json", checkpoint().dump());
  const ModelPackage package = read_package("random:" + folder.path.string());
  EXPECT_TRUE(package.random_weights);
  EXPECT_EQ(package.folder, folder.path);
  EXPECT_EQ(package.weight_bytes(), 0U);
  EXPECT_NO_THROW(check_files(package));
}

TEST(Files, AShardThatIsNotListedIsNamed) {
  const TempFolder folder;
  json document = checkpoint();
  document["transformer"].erase("file");
  document["transformer"]["files"] = {"m-00001-of-00004.safetensors", "m-00003-of-00004.safetensors"};
  folder.write("model.json", document.dump());
  expect_parts(
      message_of([&] { read_package(folder.path); }),
      {"transformer lists 2 of 4 shards", "m-00002-of-00004.safetensors, m-00004-of-00004.safetensors"});
}

TEST(Files, AnIndexStandsForItsShards) {
  const TempFolder folder;
  json document = checkpoint();
  document["transformer"]["file"] = "m.safetensors.index.json";
  folder.write("model.json", document.dump());
  const auto list = [&] {
    const ModelPackage package = read_package(folder.path);
    return section_files(package, package.transformer, "transformer");
  };
  EXPECT_EQ(list(), std::vector<std::string>{"m.safetensors.index.json"});  // now this file is missing
  folder.write("m.safetensors.index.json", R"({"weight_map": {"a": "m-2", "b": "m-1", "c": "m-2"}})");
  EXPECT_EQ(list(), (std::vector<std::string>{"m-1", "m-2"}));
  for (const char* bad : {"[]", "{}", R"({"weight_map": {}})", R"({"weight_map": {"a": "../x"}})",
                          R"({"weight_map": {"a": 1}})", "nonsense"}) {
    folder.write("m.safetensors.index.json", bad);
    expect_parts(message_of(list), {"index.json", "fetch it again"});
  }
}

TEST(Files, OneNumberedShardStandsForItsSet) {
  const TempFolder folder;
  json document = checkpoint();
  document["transformer"]["file"] = "m-00002-of-00003.safetensors";
  folder.write("model.json", document.dump());
  const ModelPackage package = read_package(folder.path);
  EXPECT_EQ(section_files(package, package.transformer, "transformer"),
            (std::vector<std::string>{"m-00001-of-00003.safetensors", "m-00002-of-00003.safetensors",
                                      "m-00003-of-00003.safetensors"}));
}

TEST(Weights, MixedTypesAreNamed) {
  const std::vector<WeightSpec> wanted = {{"a", {2}}, {"b", {2}}};
  const auto say = [&](at::ScalarType a, at::ScalarType b) {
    const WeightMap weights = {{"a", at::ones({2}).to(a)}, {"b", at::ones({2}).to(b)}};
    return message_of([&] { check_weights(weights, wanted, "transformer"); });
  };
  EXPECT_EQ(say(at::kFloat, at::kBFloat16), "");  // as MAGI-1 is published
  EXPECT_EQ(say(at::kHalf, at::kHalf), "");
  expect_parts(say(at::kHalf, at::kBFloat16),
               {"mixed types", "1 of Half (a", "1 of BFloat16 (b", "different checkpoints"});
  EXPECT_EQ(say(at::kFloat8_e4m3fn, at::kBFloat16), "");  // rounded to fp8 without scales
  expect_parts(say(at::kLong, at::kFloat), {"a holds Long"});
}

TEST(Weights, UnfitOnesSayWhatIsWanted) {
  try {
    check_weights({}, {{"a", {2}}, {"b", {3}, true}}, "x");
    FAIL();
  } catch (const UnfitWeights& unfit) {
    EXPECT_EQ(unfit.wanted().size(), 2U);
    EXPECT_EQ(unfit.status(), FC_ERROR_MODEL);
  }
}

TEST(Preflight, WeightsAndKeysAreCountedAsTheyAreKept) {
  const TempFolder folder;
  folder.write("model.json", checkpoint().dump());
  const ModelPackage package = read_package(folder.path);
  const auto bytes = [&](uint64_t weight, uint64_t kv, const char* what) {
    MemoryPlan plan = default_plan(package, weight, kv, false);
    plan.transformer_bytes = 1000;  // as 16-bit floats
    plan.decoder_bytes = plan.text_bytes = 1;
    for (const MemoryNeed& need : memory_needs(package, plan))
      if (need.what == what) return need.bytes;
    return uint64_t{0};
  };
  EXPECT_EQ(bytes(1, 2, "transformer"), 500U);
  EXPECT_EQ(bytes(4, 4, "transformer"), 2000U);
  EXPECT_GT(bytes(1, 2, "KV budget of history"), 0U);
  EXPECT_EQ(bytes(1, 2, "KV budget of history"), bytes(2, 2, "KV budget of history"));
  EXPECT_EQ(2 * bytes(1, 2, "KV of chunks in flight"), bytes(4, 4, "KV of chunks in flight"));
}

TEST(Preflight, HistoryIn8BitsTakesAByteForEachNumberAndItsScales) {
  const TempFolder folder;
  folder.write("model.json", checkpoint().dump());
  const ModelPackage package = read_package(folder.path);
  const KvShape shape = kv_shape(package);
  const auto bytes = [&](bool int8, const char* what) {
    MemoryPlan plan = default_plan(package, 2, 2, false);
    plan.transformer_bytes = plan.decoder_bytes = plan.text_bytes = 1;
    plan.kv_int8 = int8;
    plan.kv_scratch = 77;
    for (const MemoryNeed& need : memory_needs(package, plan))
      if (need.what == what) return need.bytes;
    return uint64_t{0};
  };
  const auto width = static_cast<uint64_t>(shape.head_dim);
  EXPECT_EQ(bytes(true, "KV budget of history") * 2 * width,
            bytes(false, "KV budget of history") * (width + 4));
  EXPECT_EQ(bytes(true, "KV of chunks in flight"), bytes(false, "KV of chunks in flight"));
  EXPECT_EQ(bytes(true, "KV scratch"), 77u);
  EXPECT_EQ(kv_bytes_per_chunk(package, 2), static_cast<uint64_t>(4 * shape.layers * shape.kv_heads *
                                                                  shape.head_dim * shape.tokens_per_chunk));
}

TEST(Preflight, ATextEncoderOnTheCpuIsNotTheDevices) {
  const TempFolder folder;
  json document = checkpoint();
  const auto text = [&](bool device_is_host) {
    folder.write("model.json", document.dump());
    const ModelPackage package = read_package(folder.path);
    MemoryPlan plan = default_plan(package, 2, 2, device_is_host);
    EXPECT_EQ(plan.chunks_in_flight, 5U);
    EXPECT_EQ(plan.branches, 2U);
    plan.transformer_bytes = plan.decoder_bytes = 1;
    plan.text_bytes = 1000;
    for (const MemoryNeed& need : memory_needs(package, plan))
      if (need.what == "text encoder") return need;
    return MemoryNeed{};
  };
  EXPECT_TRUE(text(false).on_host);
  EXPECT_FALSE(text(true).on_host);
  EXPECT_EQ(text(true).bytes, 1000U);
  document["text"]["precision"] = "fp32";
  EXPECT_EQ(text(true).bytes, 2000U);
  document["text"]["device"] = "model";
  EXPECT_FALSE(text(false).on_host);
  document["text"]["unload"] = true;
  EXPECT_EQ(text(false).bytes, 0U);
  const std::vector<MemoryNeed> needs = {{"a", 1, false}, {"b", 2, true}};
  EXPECT_EQ(needs_of(needs, true).size(), 1U);
  EXPECT_EQ(needs_of(needs, true)[0].what, "b");
}

}  // namespace
}  // namespace flowcache
