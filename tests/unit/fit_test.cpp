// SPDX-License-Identifier: LGPL-2.1-or-later
// What is advised for a GPU of a given size passes the check that refuses what does not fit.
#include "stream/fit.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "families/factory.h"
#include "stream/loaded_model.h"

namespace {

using flowcache::Fit;
using flowcache::ModelPackage;

ModelPackage shipped(const std::string& name) {
  return flowcache::read_package("random:" FLOWCACHE_SOURCE_DIR "/models/templates/" + name + ".json");
}

// What the engine counts before it loads the model with these settings.
std::vector<flowcache::MemoryNeed> needs_of(const ModelPackage& package, const Fit& fit) {
  const ModelPackage chosen = flowcache::with_fit(package, fit);
  const flowcache::WeightSizes sizes = flowcache::weight_sizes(package);
  const at::ScalarType weights = fit.fp8 ? at::kFloat8_e4m3fn : at::kBFloat16;
  flowcache::MemoryPlan plan = flowcache::plan_of(chosen, {at::kBFloat16, weights},
                                                  flowcache::KvPrecision::full, at::Device(at::kCUDA, 0));
  plan.transformer_bytes = sizes.transformer;
  plan.text_bytes = sizes.text;
  plan.decoder_bytes = sizes.decoder;
  return flowcache::needs_of(flowcache::memory_needs(chosen, plan), false);
}

constexpr uint64_t gigabyte = 1'000'000'000;

TEST(Fit, WhatIsAdvisedPassesTheCheck) {
  for (const char* name : {"self-forcing-1.3b", "longlive-1.3b", "skyreels-v2-df-1.3b-540p",
                           "skyreels-v2-df-14b-540p", "magi-1-4.5b-distill", "magi-1-24b-distill",
                           "krea-realtime-14b", "longlive-2.0-5b", "causal-forcing-framewise-1step-1.3b"}) {
    const ModelPackage package = shipped(name);
    for (uint64_t gigabytes = 4; gigabytes <= 100; gigabytes += 4) {
      const Fit fit = flowcache::fit_to_gpu(package, gigabytes * gigabyte);
      const uint64_t available = gigabytes * gigabyte - flowcache::gpu_reserve;
      if (fit.fits)
        EXPECT_NO_THROW(flowcache::check_memory(needs_of(package, fit), available, "gpu"))
            << name << gigabytes;
      else
        EXPECT_THROW(flowcache::check_memory(needs_of(package, fit), available, "gpu"), flowcache::Error)
            << name << gigabytes;
    }
  }
}

TEST(Fit, ALargeGpuGetsTheModelAsItIs) {
  const ModelPackage package = shipped("skyreels-v2-df-1.3b-540p");
  const Fit fit = flowcache::fit_to_gpu(package, 80 * gigabyte);
  EXPECT_TRUE(fit.fits);
  EXPECT_FALSE(fit.fp8);
  EXPECT_FALSE(fit.one_at_a_time);
  EXPECT_EQ(fit.history, package.cache.at("history_chunks").get<int64_t>());
  EXPECT_EQ(fit.size, (flowcache::Pixels{package.width, package.height}));
}

// By steps of a gigabyte downwards the picture never gets better again.
TEST(Fit, GivesUpInTheOrderThatItPromises) {
  const ModelPackage package = shipped("skyreels-v2-df-1.3b-540p");
  Fit before = flowcache::fit_to_gpu(package, 80 * gigabyte);
  bool smaller = false, one = false, fp8 = false;
  for (uint64_t gigabytes = 79; gigabytes > 0; --gigabytes) {
    const Fit fit = flowcache::fit_to_gpu(package, gigabytes * gigabyte);
    if (!fit.fits) break;
    EXPECT_LE(fit.size.width, before.size.width) << gigabytes;
    if (fit.size == before.size) {
      EXPECT_GE(fit.one_at_a_time, before.one_at_a_time) << gigabytes;
    }
    smaller |= fit.size.width < package.width;
    one |= fit.one_at_a_time;
    fp8 |= fit.fp8;
    before = fit;
  }
  EXPECT_TRUE(fp8);
  EXPECT_TRUE(one);
  EXPECT_TRUE(smaller);
}

TEST(Fit, WhereNothingHelpsTheLeastIsSaid) {
  const Fit fit = flowcache::fit_to_gpu(shipped("magi-1-24b-base"), 8 * gigabyte);
  EXPECT_FALSE(fit.fits);
  EXPECT_TRUE(fit.fp8);
  EXPECT_TRUE(fit.one_at_a_time);
  EXPECT_GT(fit.device_bytes, 20 * gigabyte);
}

}  // namespace
