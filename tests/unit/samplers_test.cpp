// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "base/error.h"
#include "samplers/factory.h"
#include "samplers/few_step.h"
#include "samplers/flow_euler.h"
#include "stream/noise.h"

namespace flowcache {
namespace {

at::Tensor no_noise() {
  throw std::logic_error("this sampler draws no noise");
}

TEST(FlowEuler, TableRunsFromNoiseToClean) {
  const auto sampler = make_flow_euler(4, 3.0, 1000);
  const StepTable& table = sampler->table();
  ASSERT_EQ(table.steps(), 4);
  EXPECT_DOUBLE_EQ(table.sigma.front(), 1.0);
  EXPECT_DOUBLE_EQ(table.sigma.back(), 0.0);
  EXPECT_DOUBLE_EQ(table.sigma[2], 3 * 0.5 / (1 + 2 * 0.5));
  for (int i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(table.timestep[i], 1000 * table.sigma[i]);
}

TEST(FlowEuler, ExactVelocityLandsOnTheData) {
  const at::Tensor noise = draw_noise(1, 0, 0, {2, 3}, at::kCPU),
                   data = draw_noise(2, 0, 0, {2, 3}, at::kCPU);
  for (const int steps : {1, 2, 7}) {
    const auto sampler = make_flow_euler(steps, 1.5, 1000);
    const auto state = sampler->begin_chunk();
    at::Tensor x = noise;
    for (int s = 0; s < steps; ++s) x = state->step(x, noise - data, s, no_noise);
    EXPECT_TRUE(at::allclose(x, data, 0, 1e-6));
  }
}

TEST(FewStep, WarpedStepsAreThePublishedOnes) {
  const auto sampler = make_few_step({{1000, 750, 500, 250}, 5.0, true});
  const double wanted[] = {1000, 937.5, 833.3333, 625};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(sampler->table().timestep[i], wanted[i], 1e-3);
  EXPECT_TRUE(sampler->renoises());
}

TEST(FewStep, LastStepReturnsTheCleanPredictionAndDrawsNothing) {
  const auto sampler = make_few_step({{1000, 500}, 5.0, true});
  const auto state = sampler->begin_chunk();
  const at::Tensor x = at::ones({2}), v = at::full({2}, 0.25);
  const at::Tensor noisy = state->step(x, v, 0, [] { return at::full({2}, 2.0); });
  const double sigma = sampler->table().sigma[1];
  EXPECT_NEAR(noisy[0].item<double>(), (1 - sigma) * 0.75 + sigma * 2, 1e-6);
  EXPECT_NEAR(state->step(noisy, v, 1, no_noise)[0].item<double>(), noisy[0].item<double>() - sigma * 0.25,
              1e-6);
}

TEST(FewStep, RunsInOneAndInTwoSteps) {
  const at::Tensor x = at::ones({2}), v = at::full({2}, 0.25);
  const auto one = make_few_step({{1000}, 5.0, true});
  ASSERT_EQ(one->table().steps(), 1);
  EXPECT_EQ(one->table().sigma, (std::vector<double>{1, 0}));
  EXPECT_TRUE(at::allclose(one->begin_chunk()->step(x, v, 0, no_noise), x - v))
      << "from noise to clean at once";
  const auto two = make_few_step({{1000, 500}, 5.0, true});
  ASSERT_EQ(two->table().steps(), 2);
  EXPECT_NEAR(two->table().timestep[1], 833.3333, 1e-3);
}

// Krea's list and the warped one of Self-Forcing are the same but for rounding.
TEST(FewStep, AListWithoutWarpHasTheTimestepsThemselves) {
  const auto plain = make_few_step({{1000, 937, 833, 625}, 5.0, false});
  const auto warped = make_few_step({{1000, 750, 500, 250}, 5.0, true});
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(plain->table().timestep[i], warped->table().timestep[i], 0.51);
    EXPECT_NEAR(plain->table().sigma[i], warped->table().sigma[i], 2e-3);
  }
}

TEST(FewStep, RefusesStepsThatAreNotDescending) {
  for (const std::vector<int>& steps : {std::vector<int>{}, {500, 500}, {250, 500}, {0}, {1001}})
    EXPECT_THROW(make_few_step({steps, 5.0, true}), Error);
}

TEST(SamplerFactory, NamesWhatItDoesNotKnow) {
  const auto message = [](const nlohmann::json& section, int steps) -> std::string {
    try {
      make_sampler(section, steps);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message({{"kind", "ddim"}}, 0).find("ddim"), std::string::npos);
  EXPECT_NE(message({{"kind", "flow_euler"}}, 1001).find("1..1000"), std::string::npos);
  EXPECT_NE(message({{"kind", "few_step"}, {"denoising_step_list", {1000, 500}}}, 3).find("distilled for 2"),
            std::string::npos);
}

TEST(SamplerFactory, TheFirstChunkMayHaveAListOfItsOwn) {
  nlohmann::json section = {{"kind", "few_step"}, {"denoising_step_list", {1000}}};
  EXPECT_EQ(make_first_sampler(section), nullptr);
  section["denoising_step_list_first_chunk"] = {1000, 750, 500, 250};
  EXPECT_EQ(make_sampler(section, 0)->table().steps(), 1);
  const auto first = make_first_sampler(section);
  EXPECT_EQ(first->table().steps(), 4);
  EXPECT_EQ(first->table().timestep, make_few_step({{1000, 750, 500, 250}, 5.0, true})->table().timestep);
  section["warp_denoising_step"] = false;
  EXPECT_EQ(make_first_sampler(section)->table().timestep, (std::vector<double>{1000, 750, 500, 250}));
  section["kind"] = "unipc";
  EXPECT_THROW(make_first_sampler(section), Error);
}

TEST(Noise, DependsOnSeedChunkAndDrawOnly) {
  const at::Tensor one = draw_noise(7, 3, 1, {100}, at::kCPU);
  EXPECT_TRUE(one.equal(draw_noise(7, 3, 1, {100}, at::kCPU)));
  EXPECT_FALSE(one.equal(draw_noise(8, 3, 1, {100}, at::kCPU)));
  EXPECT_FALSE(one.equal(draw_noise(7, 4, 1, {100}, at::kCPU)));
  EXPECT_FALSE(one.equal(draw_noise(7, 3, 2, {100}, at::kCPU)));
  const at::Tensor many = draw_noise(0, 0, 0, {100000}, at::kCPU);
  EXPECT_NEAR(many.mean().item<double>(), 0, 0.02);
  EXPECT_NEAR(many.std().item<double>(), 1, 0.02);
}

}  // namespace
}  // namespace flowcache
