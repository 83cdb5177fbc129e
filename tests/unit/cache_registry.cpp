// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "base/error.h"
#include "cache/registry.h"

using namespace flowcache;

namespace {

template <class Choose>
Error error_of(Choose choose, const std::string& spec) {
  try {
    choose(spec);
  } catch (const Error& error) {
    return error;
  }
  return Error(FC_OK, "no error for " + spec);
}

void expect_words(const Error& error, fc_status status, const std::vector<std::string>& words) {
  EXPECT_EQ(error.status(), status) << error.what();
  for (const std::string& word : words)
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
        << '"' << word << "\" in: " << error.what();
}

}  // namespace

TEST(CacheRegistry, NameAloneTakesTheDefaults) {
  const ReuseChoice choice = choose_reuse("flowcache");
  EXPECT_EQ(choice.entry->name, "flowcache");
  EXPECT_EQ(choice.entry->threshold, 0.2);
  EXPECT_EQ(choice.options.integer("warmup"), 3);
  EXPECT_EQ(choice.options.word("feature"), "tokens");
  EXPECT_EQ(choice.options.word("residual"), "velocity");
  EXPECT_TRUE(choice.options.flag("protect_last"));
}

TEST(CacheRegistry, OptionsReplaceDefaults) {
  const ReuseChoice choice =
      choose_reuse("flowcache:warmup=5,feature=modulation,residual=token_residual,polynomial=wan_1.3b");
  EXPECT_EQ(choice.options.integer("warmup"), 5);
  EXPECT_EQ(choice.options.word("polynomial"), "wan_1.3b");
  const auto policy = choice.make();
  EXPECT_EQ(policy->taps(), Tap::modulation);
  EXPECT_EQ(policy->kind(), ReuseKind::token_residual);
  EXPECT_DOUBLE_EQ(choose_kv("flowcache:lambda=0.5").options.number("lambda"), 0.5);
}

TEST(CacheRegistry, EveryPolicyMakesItselfFromItsDefaults) {
  for (const auto& entry : reuse_policies())
    EXPECT_NE(choose_reuse(entry.name).make(), nullptr) << entry.name;
  for (const auto& entry : kv_policies()) EXPECT_NE(choose_kv(entry.name).make(), nullptr) << entry.name;
}

TEST(CacheRegistry, AGuidancePolicyStandsBehindAPlus) {
  EXPECT_EQ(choose_guidance("ramp:power=1.5").make(), nullptr);
  EXPECT_EQ(choose_guidance("ramp:power=1e+0").make(), nullptr);
  const std::string both = "ramp:computed=9+cfg_cache:refresh=3";
  EXPECT_EQ(choose_reuse(both).options.integer("computed"), 9);
  EXPECT_EQ(choose_guidance(both).options.integer("refresh"), 3);
  EXPECT_EQ(policy_name("ramp+cfg_cache"), "ramp");
  expect_words(error_of(choose_guidance, "ramp+nothing"), FC_ERROR_NOT_FOUND, {"nothing", "cfg_cache"});
  expect_words(error_of(choose_guidance, "ramp+cfg_cache:refresh=0"), FC_ERROR_ARGUMENT,
               {"refresh=0", "1..1000"});
}

TEST(CacheRegistry, DefaultsLieInTheirRanges) {
  const auto check = [](const auto& entries) {
    for (const auto& entry : entries)
      for (const OptionSpec& option : entry.options) {
        EXPECT_FALSE(option.help.empty()) << entry.name << ":" << option.name;
        if (option.words.empty()) {
          EXPECT_LE(option.min, option.value) << entry.name << ":" << option.name;
          EXPECT_LE(option.value, option.max) << entry.name << ":" << option.name;
        }
      }
  };
  check(reuse_policies());
  check(kv_policies());
}

TEST(CacheRegistry, UnknownNameListsTheKnownOnes) {
  expect_words(error_of(choose_reuse, "flowcash"), FC_ERROR_NOT_FOUND, {"\"flowcash\"", "flowcache", "none"});
  expect_words(error_of(choose_kv, ""), FC_ERROR_NOT_FOUND, {"\"\"", "flowcache", "window", "full"});
}

TEST(CacheRegistry, UnknownOptionListsTheKnownOnes) {
  expect_words(error_of(choose_reuse, "flowcache:warmpu=3"), FC_ERROR_ARGUMENT,
               {"\"warmpu\"", "flowcache", "warmup", "feature"});
  expect_words(error_of(choose_reuse, "none:warmup=3"), FC_ERROR_ARGUMENT,
               {"none", "\"warmup\"", "it has none"});
  expect_words(error_of(choose_reuse, "flowcache:warmup=3,,feature=tokens"), FC_ERROR_ARGUMENT, {"\"\""});
}

// Options that only serve to compare with faults of published code are not known to users and not listed.
TEST(CacheRegistry, ParityOptionsAreUnknownToUsers) {
  for (const char* spec : {"flowcache:unsafe=parity", "flowcache:metric=bf16", "teacache:unsafe=parity"})
    expect_words(error_of(choose_reuse, spec), FC_ERROR_ARGUMENT, {"no option"});
  for (const char* spec : {"flowcache:order=score", "flowcache:weighting=parity_hard_code"})
    EXPECT_EQ(error_of(choose_kv, spec).status(), FC_ERROR_ARGUMENT) << spec;
  for (const auto& message :
       {error_of(choose_reuse, "flowcache:x=1"), error_of(choose_kv, "flowcache:weighting=x")})
    EXPECT_EQ(std::string(message.what()).find("parity"), std::string::npos) << message.what();
  const ParityOptions parity;
  EXPECT_NO_THROW(choose_reuse("flowcache:unsafe=parity,metric=bf16"));
  EXPECT_NO_THROW(choose_kv("flowcache:order=score,weighting=parity_hard_code"));
}

TEST(CacheRegistry, OtherNamesStandForWhatThePapersCombine) {
  EXPECT_EQ(resolve_reuse("fastercache"), "attention+cfg_cache");
  EXPECT_EQ(resolve_reuse("fastercache:interval=3+offload"), "attention:interval=3+cfg_cache+offload");
  EXPECT_EQ(resolve_reuse("fbcache:last_blocks=2"), "dbcache:first_blocks=1,last_blocks=2");
  EXPECT_EQ(resolve_reuse("ramp:computed=6"), "ramp:computed=6");
  EXPECT_EQ(resolve_kv("ca2vdm"), "ca2");
  for (const PolicyAlias& one : reuse_aliases()) {
    EXPECT_NO_THROW(choose_reuse(one.name)) << one.name;
    EXPECT_NO_THROW(choose_guidance(one.name)) << one.name;
  }
  for (const PolicyAlias& one : kv_aliases()) EXPECT_NO_THROW(choose_kv(one.name)) << one.name;
  EXPECT_NE(choose_guidance("fastercache").entry, nullptr);
  EXPECT_FALSE(offloads("fastercache"));
  EXPECT_TRUE(offloads("fastercache+offload"));
}

TEST(CacheRegistry, APolicyOfTheOtherKindIsNamedAsThat) {
  expect_words(error_of(choose_reuse, "packcache"), FC_ERROR_NOT_FOUND, {"KV cache policy", "kv-cache"});
  expect_words(error_of(choose_reuse, "ca2vdm"), FC_ERROR_NOT_FOUND, {"kv-cache"});
  expect_words(error_of(choose_kv, "teacache"), FC_ERROR_NOT_FOUND, {"reuse policy"});
}

TEST(CacheRegistry, BadValueNamesTheValueAndTheRange) {
  for (const char* value : {"-1", "1001", "2.5", "3x", "", "nan", "inf", "0x3", "three"})
    expect_words(error_of(choose_reuse, std::string("flowcache:warmup=") + value), FC_ERROR_ARGUMENT,
                 {std::string("warmup=") + value, "0..1000"});
  expect_words(error_of(choose_reuse, "flowcache:warmup"), FC_ERROR_ARGUMENT, {"0..1000"});
  expect_words(error_of(choose_reuse, "flowcache:feature=words"), FC_ERROR_ARGUMENT,
               {"feature=words", "tokens", "modulation"});
  expect_words(error_of(choose_kv, "flowcache:lambda=1.5"), FC_ERROR_ARGUMENT, {"lambda=1.5", "0..1"});
  expect_words(error_of(choose_reuse, "flowcache:warmup=3,warmup=4"), FC_ERROR_ARGUMENT, {"warmup", "twice"});
}
