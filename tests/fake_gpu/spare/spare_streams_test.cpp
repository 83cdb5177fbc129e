// SPDX-License-Identifier: LGPL-2.1-or-later
// Streams on the spare device decide and draw what they do on the CPU: every policy, every family.
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "cache/registry.h"
#include "networks/text/t5.h"
#include "spare_compare.h"

namespace spare {
namespace {

using flowcache::Error;
using flowcache::is_public;
using flowcache::public_words;

// A policy as it is, and with each of its options' words.
template <class Policy>
std::vector<std::string> specs_of(const flowcache::PolicyEntry<Policy>& entry) {
  std::vector<std::string> specs = {entry.name};
  for (const flowcache::OptionSpec& option : entry.options) {
    if (!is_public(option)) continue;
    const std::vector<std::string> words = public_words(option);
    for (size_t i = 1; i < words.size(); ++i)
      specs.push_back(entry.name + ":" + option.name + "=" + words[i]);
  }
  return specs;
}

const Models& tiny() {
  static const Models models(wan);
  return models;
}

// What a policy needs to have something to do in eight steps.
std::string eager(const std::string& spec) {
  if (spec == "auto") return "auto:ceiling=4";
  if (spec == "ramp") return "ramp:computed=4";
  return spec;
}

StreamConfig config_of(const std::string& cache) {
  return {.prompt = "fire", .seed = 3, .cache = cache};
}

// Then the deadline asks for nothing, and decisions do not depend on how fast the machine is.
void take_its_time(Stream& stream) {
  stream.deadline(3600);
}

// False for a combination that the engine refuses.
bool run_policy(const StreamConfig& config, int chunks, const std::string& what) {
  std::unique_ptr<Streams> streams;
  try {
    streams = std::make_unique<Streams>(tiny(), config);
  } catch (const Error&) {
    return false;
  }
  if (flowcache::policy_name(config.cache) == "auto") streams->both(take_its_time);
  streams->expect_same(chunks, what);
  return true;
}

class SpareReuse : public testing::TestWithParam<size_t> {
 protected:
  const c10::InferenceMode inference_;
};

// One chunk in flight, and three that are guided; with the policy's own threshold and with one that reuses
// all it may.
TEST_P(SpareReuse, DecidesAndDrawsAsOnTheCpu) {
  const auto& entry = flowcache::reuse_policies()[GetParam()];
  for (const std::string& spec : specs_of(entry)) {
    StreamConfig config = config_of(eager(spec));
    EXPECT_TRUE(run_policy(config, 3, spec)) << spec;
    if (spec.find(":by=") == std::string::npos) config.threshold = 10;
    run_policy(config, 2, spec + ", all reused");
    config.lag = 3;
    config.guidance = 3;
    config.negative_prompt = "ice";
    run_policy(config, 3, spec + ", guided, three in flight");
  }
}

// What is kept for later steps goes to the host and back, the engine's own way.
TEST_P(SpareReuse, OffloadsWhatItKeeps) {
  const auto& entry = flowcache::reuse_policies()[GetParam()];
  for (const std::string& spec : specs_of(entry)) {
    StreamConfig config = config_of(spec + "+offload");
    config.threshold = 10;
    std::unique_ptr<Stream> there;
    try {
      there = std::make_unique<Stream>(tiny().there, config);
    } catch (const Error&) {
      continue;  // keeps nothing worth moving
    }
    config.cache = spec;
    Stream here(tiny().here, config);
    if (entry.name == "auto") take_its_time(*there), take_its_time(here);
    for (int i = 0; i < 2; ++i) {
      const auto got = there->next(), want = here.next();
      EXPECT_EQ(got->decisions, want->decisions) << spec;
      EXPECT_GE(psnr(got->frames.cpu(), want->frames), least_psnr) << spec;
    }
    if (there->stats().steps_reused > 0) {
      EXPECT_LT(there->stats().reuse_bytes, here.stats().reuse_bytes) << spec;
    }
  }
}

std::string name_of_reuse(const testing::TestParamInfo<size_t>& info) {
  return flowcache::reuse_policies()[info.param].name;
}
INSTANTIATE_TEST_SUITE_P(Policies, SpareReuse, testing::Range(size_t{0}, flowcache::reuse_policies().size()),
                         name_of_reuse);

class SpareKv : public testing::TestWithParam<size_t> {
 protected:
  const c10::InferenceMode inference_;
};

TEST_P(SpareKv, KeepsAndDrawsAsOnTheCpu) {
  const auto& entry = flowcache::kv_policies()[GetParam()];
  for (const std::string& spec : specs_of(entry)) {
    for (const int lag : {8, 3}) {
      StreamConfig config = config_of("flowcache");
      config.kv_cache = spec;
      config.lag = lag;
      config.kv_budget = entry.name == "full" ? 1 << 22 : 0;
      EXPECT_TRUE(run_policy(config, 5, spec + ", lag " + std::to_string(lag))) << spec;
    }
  }
}

std::string name_of_kv(const testing::TestParamInfo<size_t>& info) {
  return flowcache::kv_policies()[info.param].name;
}
INSTANTIATE_TEST_SUITE_P(Policies, SpareKv, testing::Range(size_t{0}, flowcache::kv_policies().size()),
                         name_of_kv);

// Rounding to 8 bits may fall to the other side of a half on another device, so that pictures are near and not equal.
TEST(SpareStreams, HistoryIn8BitsIsThatOfTheCpu) {
  const c10::InferenceMode inference;
  const Models models(wan);
  models.there->kv_precision = models.here->kv_precision = flowcache::KvPrecision::int8;
  for (const auto& entry : flowcache::kv_policies()) {
    StreamConfig config = config_of("none");
    config.kv_cache = entry.name;
    config.kv_budget = entry.name == "full" ? 1 << 22 : 0;
    Streams streams(models, config);
    for (int chunk = 0; chunk < 5; ++chunk) {
      const auto got = streams.there.next(), want = streams.here.next();
      EXPECT_EQ(got->kv_bytes, want->kv_bytes) << entry.name;
      EXPECT_GE(psnr(got->frames.cpu(), want->frames), 80) << entry.name << ", chunk " << chunk;
    }
  }
}

TEST(SpareStreams, GuidancePolicies) {
  const c10::InferenceMode inference;
  for (const auto& entry : flowcache::guidance_policies())
    for (const std::string& spec : specs_of(entry))
      for (const std::string reuse : {"none", "interval", "attention", "ramp:computed=4"}) {
        StreamConfig config = config_of(reuse + "+" + spec);
        config.guidance = 3;
        EXPECT_TRUE(run_policy(config, 3, config.cache)) << config.cache;
      }
}

void set_seed_and_prompt(StreamConfig& config) {
  config.prompt = "slow green aurora over mountains";
  config.seed = 7;
}

// Prompts that change, with and without a transition, another negative prompt, other settings, another seed.
void run_life(const Models& models, StreamConfig config, const std::string& what) {
  set_seed_and_prompt(config);
  Streams streams(models, config);
  streams.expect_same(1, what);
  streams.both([](Stream& stream) { stream.prompts().change("orange fire", 2, 2); });
  streams.expect_same(3, what + ", blended");
  streams.both([](Stream& stream) { stream.prompts().change("purple neon tunnel", 0, 0); });
  if (streams.here.default_guidance() != 1 || config.guidance > 1)
    streams.both([](Stream& stream) {
      stream.negative_prompt("blue snowfall");
      stream.tune(-1, 2);
    });
  streams.expect_same(2, what + ", cut");
  streams.both([](Stream& stream) { stream.reset(9); });
  streams.expect_same(2, what + ", reset");
}

TEST(SpareStreams, AWanStreamsLife) {
  const c10::InferenceMode inference;
  StreamConfig config{.lag = 3, .guidance = 3};
  run_life(tiny(), config, "wan");
  config = {.guidance = 1};
  run_life(Models(few_step_wan), config, "few_step");
  run_life(Models(unipc_wan), config, "unipc");
}

TEST(SpareStreams, ASkyReelsStreamsLife) {
  const c10::InferenceMode inference;
  run_life(Models(skyreels), {}, "skyreels");
}

TEST(SpareStreams, AMagiStreamsLife) {
  const c10::InferenceMode inference;
  run_life(Models(magi), {}, "magi");
}

TEST(SpareStreams, MagisThreePasses) {
  const c10::InferenceMode inference;
  const Models models(magi_base);
  for (const std::string cache : {"none", "flowcache:protect_last=0", "attention"}) {
    Streams streams(models, {.prompt = "fire", .cache = cache});
    streams.expect_same(2, cache);
  }
}

TEST(SpareStreams, TheModelThatShips) {
  const c10::InferenceMode inference;
  StreamConfig config{.steps = 8, .width = 256, .height = 160};
  set_seed_and_prompt(config);
  Streams streams(Models(ambient), config);
  streams.expect_same(1, "ambient");
  streams.both([](Stream& stream) { stream.prompts().change("orange fire", 0, 0); });
  streams.expect_same(1, "ambient, cut");  // forgets history
}

// Encoded where the network is, or given as latents.
TEST(SpareStreams, InitialFrames) {
  const c10::InferenceMode inference;
  at::manual_seed(5);
  const struct {
    const char* name;
    MakeModel make;
    at::Tensor frames, latents;
  } all[] = {{"skyreels", skyreels, at::rand({9, 3, 64, 96}), {}},
             {"skyreels, an image", skyreels, at::rand({1, 3, 64, 96}), {}},
             {"magi", magi, at::rand({28, 3, 32, 48}), {}},
             {"magi, an image", magi, at::rand({1, 3, 32, 48}), {}},
             {"wan", wan, {}, at::randn({16, 6, 6, 8})}};
  for (const auto& one : all) {
    StreamConfig config{.prompt = "fire"};
    config.initial_frames = one.frames;
    config.initial_latents = one.latents;
    Streams streams(Models(one.make), config);
    streams.expect_same(2, one.name);
    streams.both([](Stream& stream) { stream.reset(4); });
    streams.expect_same(1, std::string(one.name) + ", reset");
  }
}

void write_safetensors(const std::filesystem::path& file, const flowcache::WeightMap& weights) {
  json header;
  std::string data;
  for (const auto& [name, tensor] : weights) {
    const at::Tensor flat = tensor.to(at::kFloat).contiguous();
    header[name] = {{"dtype", "F32"},
                    {"shape", flat.sizes().vec()},
                    {"data_offsets", {data.size(), data.size() + flat.nbytes()}}};
    data.append(static_cast<const char*>(flat.const_data_ptr()), flat.nbytes());
  }
  const uint64_t length = header.dump().size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << header.dump() << data;
}

// The prompt's features come back to the host.
TEST(SpareStreams, TheTextEncoder) {
  const c10::InferenceMode inference;
  at::manual_seed(6);
  const flowcache::test::TempFolder folder;
  const json config = {{"vocab", 420},   {"dim", 48},       {"dim_attn", 64},    {"dim_ffn", 96},
                       {"num_heads", 4}, {"num_layers", 2}, {"num_buckets", 32}, {"shared_pos", false}};
  flowcache::WeightMap weights;
  for (const auto& spec : flowcache::T5Config::from_json(config).weights())
    if (!spec.optional) weights[spec.name] = at::randn(spec.shape) * 0.1;
  write_safetensors(folder.path / "text.safetensors", weights);
  std::filesystem::copy_file(golden_cases / "umt5-tokenize/spiece.model", folder.path / "spiece.model");
  flowcache::ModelPackage package = skyreels(at::kCPU)->package;
  package.folder = folder.path;
  package.random_weights = false;
  package.text = {{"kind", "umt5"}, {"file", "text.safetensors"}, {"precision", "fp32"}, {"config", config}};
  const auto features = [&](at::Device where) {
    return flowcache::make_text_encoder(package, where)->encode("a slow green aurora").embedding.cpu();
  };
  const at::Tensor got = features(device), want = features(at::kCPU);
  EXPECT_LT((got - want).norm().item<double>(), 1e-5 * want.norm().item<double>());
}

}  // namespace
}  // namespace spare
