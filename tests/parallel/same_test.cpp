// SPDX-License-Identifier: LGPL-2.1-or-later
// Several processes give the frames and the decisions of one.
#include "cache/registry.h"
#include "parallel/plan.h"
#include "parallel/team.h"
#include "ranks.h"
#include "stream/noise.h"

using namespace flowcache;
using namespace flowcache::test;

namespace {

// Models stay loaded on their ranks while the tests of this file run.
const OnRanks& on_ranks(const std::string& family, int ranks) {
  static std::map<std::pair<std::string, int>, std::unique_ptr<OnRanks>> all;
  auto& one = all[{family, ranks}];
  if (!one) {
    const c10::InferenceMode inference;
    if (family == "ambient")
      return *(one = std::make_unique<OnRanks>(ambient, ranks, ranks == 2 ? "heads" : ""));
    one = std::make_unique<OnRanks>(family == "wan"              ? tiny_wan(4)
                                    : family == "wan of 3 heads" ? tiny_wan(3)
                                    : family == "skyreels"       ? tiny_skyreels()
                                                                 : tiny_magi(family == "magi, guided"),
                                    ranks);
  }
  return *one;
}

class Families : public testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  bool is_ambient() const { return std::get<0>(GetParam()) == "ambient"; }
  const OnRanks& model() const { return on_ranks(std::get<0>(GetParam()), std::get<1>(GetParam())); }
  // The model that ships is drawn small.
  StreamConfig config(const std::string& cache, const std::string& kv = "") const {
    StreamConfig config = config_of(cache, kv);
    if (!is_ambient()) return config;
    config.steps = 4;
    config.width = 256;
    config.height = 160;
    return config;
  }
  const c10::InferenceMode inference_;
};

TEST_P(Families, EveryStepComputed) {
  expect_same(model(), config("none"), is_ambient() ? 2 : 4);
}

TEST_P(Families, FlowCache) {
  StreamConfig wanted = config("flowcache:warmup=1,protect_last=0", "flowcache");
  wanted.threshold = is_ambient() ? 0.5 : 5;
  int reused = 0;
  for (const auto& decisions : play(model().alone, wanted, 4).decisions)
    reused += static_cast<int>(std::count(decisions.begin(), decisions.end(), 0));
  EXPECT_GT(reused, 0);
  expect_same(model(), wanted, 4);
}

TEST_P(Families, PromptsAreChangedAndBlended) {
  expect_same(model(), config("none"), 5, [](Stream& stream, int chunk) {
    if (chunk == 1) stream.prompt("orange fire", 0, 0);
    if (chunk == 2) stream.prompt("a golden ocean", 3, 2);
  });
}

TEST_P(Families, ResetBeginsAnew) {
  expect_same(model(), config("none"), 4, [](Stream& stream, int chunk) {
    if (chunk == 2) stream.reset(9);
  });
}

TEST_P(Families, APrefixIsContinued) {
  StreamConfig wanted = config("none");
  const ModelPackage& package = model().alone->package;
  const PictureSize size = picture_size(package, wanted.width, wanted.height);
  wanted.initial_latents = draw_noise(
      7, 0, 0, {16, 2 * package.latent_frames_per_chunk, size.latent_height, size.latent_width}, at::kCPU);
  expect_same(model(), wanted, 3);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Families,
                         testing::Combine(testing::Values("ambient", "wan", "wan of 3 heads", "skyreels",
                                                          "magi, guided", "magi, distilled"),
                                          testing::Values(2, 4)),
                         [](const auto& info) {
                           std::string name =
                               std::get<0>(info.param) + std::to_string(std::get<1>(info.param));
                           std::erase_if(
                               name, [](char one) { return !std::isalnum(static_cast<unsigned char>(one)); });
                           return name;
                         });

class Wan : public testing::Test {
 protected:
  const c10::InferenceMode inference_;
};

class WanOn : public testing::TestWithParam<int> {
 protected:
  const OnRanks& model(const std::string& family = "wan") const { return on_ranks(family, GetParam()); }
  const c10::InferenceMode inference_;
};

INSTANTIATE_TEST_SUITE_P(Ranks, WanOn, testing::Values(2, 4), testing::PrintToStringParamName());

TEST_P(WanOn, EveryReusePolicy) {
  for (const auto& policy : reuse_policies()) {
    SCOPED_TRACE(policy.name);
    StreamConfig config = config_of(policy.name == "auto" ? "auto:by=flowcache" : policy.name);
    if (policy.name != "auto") config.threshold = policy.threshold;
    expect_same(model(), config, 3);
  }
}

TEST_P(WanOn, EveryKvPolicy) {
  const OnRanks& rows = model("wan of 3 heads");
  for (const auto& policy : kv_policies()) {
    SCOPED_TRACE(policy.name);
    StreamConfig config = config_of("none", policy.name);
    const int chunks = policy.name == "full" ? 2 : 5;  // that one ends when the budget is full
    expect_same(model(), config, chunks);
    expect_same(rows, config, chunks);
  }
  for (const std::string spec : {"window:positions=relative", "flowcache:queries=chunk,unit=frame"}) {
    SCOPED_TRACE(spec);
    expect_same(model(), config_of("none", spec), 5);
  }
}

TEST_F(Wan, HistoryInEightBits) {
  json package = tiny_wan(4);
  TempFolder folder;
  folder.write("model.json", package.dump());
  const LoadOptions options{.model = "random:" + folder.path.string(),
                            .device = "cpu",
                            .precision = "fp32",
                            .threads = 1,
                            .kv_precision = "int8"};
  const auto alone = LoadedModel::load(options, nullptr);
  const auto together = load_on_ranks(options, {.devices = {"cpu", "cpu"}}, nullptr);
  const Played wanted = play(alone, config_of("none"), 4), got = play(together, config_of("none"), 4);
  for (size_t i = 0; i < 4; ++i)  // what lies at the border between two codes may fall to either side
    EXPECT_LE((got.latents[i] - wanted.latents[i]).abs().max().item<double>(), 1e-2) << i;
}

TEST_P(WanOn, TheHistoryIsRunAgainUnderANewPrompt) {
  expect_same(model(), config_of("none"), 5, [](Stream& stream, int chunk) {
    if (chunk == 3) stream.prompt("orange fire", FC_NEXT_CHUNK, FC_PROMPT_RECACHE);
  });
  StreamConfig guided = config_of("none", "flowcache");
  guided.guidance = 3;
  expect_same(model(), guided, 5, [](Stream& stream, int chunk) {
    if (chunk == 3) stream.prompt("orange fire", FC_NEXT_CHUNK, FC_PROMPT_RECACHE);
  });
}

// Rank 1 runs the branch without the prompt, and what goes there and back are tokens.
TEST_F(Wan, AGuidanceBranchForEachRank) {
  const OnRanks model(tiny_wan(4), 2);
  StreamConfig config = config_of("none");
  config.guidance = 3;
  expect_same(model, config, 2);
  const Team& team = dynamic_cast<Team&>(*model.together->ranks);
  const int64_t tokens = model.together->tokens_per_chunk(picture_size(model.together->package, 0, 0));
  const auto once = static_cast<uint64_t>(tokens * 64 * 4);
  // Two chunks of 8 steps and a clean pass, which brings nothing back.
  EXPECT_EQ(team.exchange().traffic().exchanges, 2 * (2 * 8 + 1U));
  EXPECT_EQ(team.exchange().traffic().given, 2 * 9 * once);
  EXPECT_EQ(team.exchange().traffic().taken, 2 * 8 * once);
}

// Each of two ranks runs a guidance branch, unless a split is named.
TEST_P(WanOn, GuidanceChangesWhileItPlays) {
  std::vector<const OnRanks*> models = {&model()};
  std::optional<OnRanks> split;
  if (GetParam() == 2) models.push_back(&split.emplace(tiny_wan(4), 2, "heads"));
  for (const std::string cache : {"none", "none+cfg_cache", "attention+cfg_cache"}) {
    SCOPED_TRACE(cache);
    StreamConfig config = config_of(cache);
    config.guidance = 3;
    for (const OnRanks* one : models)
      expect_same(*one, config, 4, [](Stream& stream, int chunk) {
        if (chunk == 1) stream.tune(-1, 5);
        if (chunk == 2) stream.negative_prompt("grey fog");
        if (chunk == 3) stream.tune(-1, 1);
      });
  }
}

TEST_P(WanOn, ChunksInFlight) {
  StreamConfig config = config_of("flowcache:warmup=1,protect_last=0", "flowcache");
  config.lag = 2;
  config.threshold = 2;
  expect_same(model(), config, 5);
}

TEST_F(Wan, HeadsThatDoNotDivide) {
  const OnRanks model(tiny_wan(3), 2, "heads");
  expect_same(model, config_of("none", "flowcache"), 4);
}

// Streams of one engine take turns.
TEST_F(Wan, TwoStreamsAtATime) {
  const OnRanks& model = on_ranks("wan", 2);
  const Played wanted = play(model.alone, config_of("attention"), 3);
  StreamConfig config = config_of("attention");
  Stream one(model.together, config), two(model.together, config);
  for (size_t i = 0; i < 3; ++i)
    for (Stream* stream : {&one, &two})
      EXPECT_LE((stream->next()->latent - wanted.latents[i]).abs().max().item<double>(), 1e-4);
}

TEST_F(Wan, ACancelledStreamGoesOn) {
  const OnRanks& model = on_ranks("wan", 2);
  const Played wanted = play(model.alone, config_of("none"), 3);
  Stream stream(model.together, config_of("none"));
  for (size_t i = 0; i < 3; ++i) {
    int steps = 0;
    stream.watch_computed([&](const ChunkStep&, const at::Tensor&) {
      if (++steps == 3) stream.cancel();
    });
    EXPECT_THROW(stream.next(), Error);
    EXPECT_LE((stream.next()->latent - wanted.latents[i]).abs().max().item<double>(), 1e-4);
  }
}

}  // namespace
