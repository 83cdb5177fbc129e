// SPDX-License-Identifier: LGPL-2.1-or-later
// The model.json templates of the public checkpoints: they are valid, and every field in them is known.
#include <gtest/gtest.h>

#include <fstream>

#include "cache/registry.h"
#include "families/magi/magi_stream.h"
#include "families/preflight.h"
#include "families/wan/config.h"
#include "networks/decoders/magi_vae.h"
#include "networks/decoders/wan_vae.h"
#include "networks/text/t5.h"
#include "package/files.h"
#include "package/model.h"
#include "samplers/factory.h"

using namespace flowcache;

namespace {

std::vector<std::filesystem::path> templates() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(FLOWCACHE_SOURCE_DIR) / "models/templates"))
    files.push_back(entry.path());
  return files;
}

class Template : public testing::TestWithParam<std::filesystem::path> {
 protected:
  ModelPackage package() { return read_package(GetParam()); }
};

}  // namespace

TEST_P(Template, IsAValidPackage) {
  const ModelPackage one = package();
  EXPECT_EQ(one.name + ".json", GetParam().filename().string());
  EXPECT_FALSE(one.description.empty() || one.license.empty());
  EXPECT_GT(kv_bytes_per_chunk(one, 2), 0U);
}

TEST_P(Template, NamesKnownPoliciesAndSamplers) {
  const ModelPackage one = package();
  EXPECT_NO_THROW(choose_reuse(one.cache.at("reuse").get<std::string>()));
  EXPECT_NO_THROW(choose_kv(one.cache.at("kv").get<std::string>()));
  const auto sampler = make_sampler(one.sampler, 0);
  EXPECT_EQ(sampler->table().steps(), one.sampler.at("steps").get<int>());
}

TEST_P(Template, DescribesNetworksThatFitTogether) {
  const ModelPackage one = package();
  const nlohmann::json config = one.transformer.at("config");
  const T5Config text = T5Config::from_json(one.text.at("config"));
  int64_t layers = 0, text_dim = 0, kv_width = 0, passes = 1;
  if (one.family == "magi") {
    const MagiConfig magi = MagiConfig::from_json(config);
    layers = magi.layers;
    text_dim = magi.caption_channels;
    kv_width = magi.kv_heads * magi.head_dim;
    passes = MagiPasses::from_json(config).guided ? 2 : 1;  // passes whose keys are kept
    EXPECT_EQ(magi.distilled, passes == 1);
    EXPECT_EQ(magi.steps, one.sampler.at("steps").get<int>());
    EXPECT_NO_THROW(MagiVaeConfig::from_json(one.decoder.at("config")));
  } else {
    nlohmann::json plain = config;
    plain["inject_sample_info"] = false;
    const auto wan = wan::Config::from_json(plain);
    layers = wan.layers;
    text_dim = wan.text_dim;
    kv_width = wan.dim;
    EXPECT_NO_THROW(WanVaeConfig::from_json(one.decoder.at("config")));
  }
  EXPECT_EQ(text.dim, text_dim);
  const int64_t tokens = one.latent_frames_per_chunk * (one.latent_height / 2) * (one.latent_width / 2);
  EXPECT_EQ(kv_bytes_per_chunk(one, 2), static_cast<uint64_t>(4 * passes * layers * kv_width * tokens));
}

TEST_P(Template, SaysWhereEachFileComesFrom) {
  for (const PackageFile& file : package_files(package())) EXPECT_FALSE(file.source.empty()) << file.name;
}

// The guidance of a model with a second branch keeps away from what its authors say.
TEST_P(Template, HasANegativePromptIfItsAuthorsPassOne) {
  const ModelPackage one = package();
  EXPECT_EQ(one.negative_prompt.empty(), one.sampler.value("guidance_scale", 1.0) == 1);
}

TEST(Templates, AreThere) {
  EXPECT_GE(templates().size(), 11U);
}

INSTANTIATE_TEST_SUITE_P(All, Template, testing::ValuesIn(templates()), [](const auto& info) {
  std::string name = info.param.stem().string();
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});
