// SPDX-License-Identifier: LGPL-2.1-or-later
// The reuse policies other than FlowCache, compared with the vectors of their publications.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "cache/reuse/easycache.h"
#include "cache/reuse/flowcache.h"
#include "cache/reuse/magcache.h"
#include "cache/reuse/polynomial.h"
#include "cache/reuse/predictor.h"
#include "cache/reuse/scm_masks.h"
#include "cache_steps.h"
#include "temp_folder.h"

using namespace flowcache;
using namespace cache_steps;

namespace {

// "0-9,12,15": steps and ranges of steps.
std::vector<int> mask(const std::string& computed, int steps) {
  std::vector<int> all(steps, 0);
  std::istringstream parts(computed);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t dash = part.find('-');
    const int first = std::stoi(part),
              last = dash == std::string::npos ? first : std::stoi(part.substr(dash + 1));
    for (int i = first; i <= last; ++i) all[i] = 1;
  }
  return all;
}

std::vector<int> play(const std::string& spec, int steps, double threshold = -1) {
  const ReuseChoice choice = choose_reuse(spec);
  return run(*choice.make(), drifting(0.01, steps), threshold < 0 ? choice.entry->threshold : threshold);
}

}  // namespace

// TeaCache

TEST(TeaCache, PublishedScheduleOfTheFirstPolynomial) {
  // Changes 0.02, 0.025, …; first and last step forced.
  const std::map<double, std::string> wanted = {
      {.05, "0,2,4-19"}, {.10, "0,3,6,8-19"}, {.20, "0,5,8,10,12,14-19"}};
  for (const auto& [threshold, computed] : wanted) {
    std::vector<Scripted> script;
    double value = 1;
    for (int s = 0; s < 20; ++s) {
      if (s > 0) value *= 1 + 0.02 + 0.005 * (s - 1);
      script.push_back({.modulation = at::full({1, 6, 8}, value)});
    }
    const ParityOptions parity;
    const auto policy = choose_reuse("teacache:polynomial=wan_1.3b_e,unsafe=parity").make();
    EXPECT_EQ(run(*policy, script, threshold), mask(computed, 20)) << threshold;
  }
}

TEST(TeaCacheJoint, OneDecisionForAllChunks) {
  const auto policy = choose_reuse("teacache_joint:warmup=1").make();
  const auto decide = [&](std::vector<std::pair<int64_t, double>> window) {
    std::vector<ChunkStep> tick;
    for (const auto& [chunk, value] : window) tick.push_back(make_step(chunk, 5, 24, value));
    std::string answer;
    for (const Decision& one : policy->decide(tick, 0.1)) answer += one.action == Action::compute ? 'C' : 'r';
    return answer;
  };
  EXPECT_EQ(decide({{0, 1.0}, {1, 1.0}}), "CC");
  EXPECT_EQ(decide({{0, 1.0}, {1, 1.1}}), "rr");  // on average 0.05
  EXPECT_EQ(decide({{0, 1.0}, {1, 1.3}}), "CC");  // the second chunk alone drives both
  EXPECT_EQ(decide({{0, 1.0}, {1, 1.3}, {2, 9.0}}),
            "rrC");                               // the entering chunk is not compared
  EXPECT_EQ(decide({{1, 1.3}, {2, 9.0}}), "rr");  // nor is the one that has left
}

TEST(TeaCacheJoint, ByPositionComparesStrangers) {
  for (const auto& [align, wanted] :
       {std::pair("chunk", Action::reuse), std::pair("position", Action::compute)}) {
    const auto policy = choose_reuse(std::string("teacache_joint:warmup=1,align=") + align).make();
    const ChunkStep before[] = {make_step(0, 9, 24, 1.0), make_step(1, 5, 24, 2.0)};
    const ChunkStep now[] = {make_step(1, 6, 24, 2.0), make_step(2, 0, 24, 3.0)};
    policy->decide(before, 0.1);
    EXPECT_EQ(policy->decide(now, 0.1)[0].action, wanted) << align;
  }
}

// EasyCache

namespace {

struct Toy {
  std::vector<int> computed;
  std::vector<double> final_x;
};

// dx = v dt with v = (1 + cos(3t)/2) x + 0.1; twenty steps, the first three always computed.
Toy easycache_toy(double tau) {
  EasyCache policy({.warmup = 3});
  at::Tensor x = at::tensor({1., -.5, .25, 2.}, at::kDouble), residual;
  Toy toy;
  for (int i = 0; i < 20; ++i) {
    ChunkStep step{.info = {.chunk = 0, .step = i, .steps = 20}, .features = {.latent = x}};
    const bool compute = policy.decide({&step, 1}, tau)[0].action == Action::compute;
    at::Tensor v = compute ? (1 + .5 * std::cos(3 * .05 * i)) * x + .1 : x + residual;
    if (compute) {
      policy.computed(step, v);
      residual = v - x;
      toy.computed.push_back(i);
    }
    x = x + v * .05;
  }
  for (int i = 0; i < 4; ++i) toy.final_x.push_back(x[i].item<double>());
  return toy;
}

}  // namespace

TEST(EasyCache, PublishedToy) {
  struct Row {
    double tau;
    std::vector<int> computed;
    std::vector<double> final_x;
  };
  const Row rows[] = {
      {0.05, {0, 1, 2, 3, 4, 6, 8, 12, 16, 18, 19}, {3.057160, -1.289765, 0.883698, 5.955111}},
      {0.10, {0, 1, 2, 4, 6, 10, 19}, {3.318007, -1.403986, 0.957011, 6.466002}},
      {0.20, {0, 1, 2, 6, 11, 19}, {3.272344, -1.385446, 0.943449, 6.377537}},
      {0.40, {0, 1, 2, 8, 19}, {3.447090, -1.466339, 0.990376, 6.722710}},
  };
  for (const Row& row : rows) {
    const Toy toy = easycache_toy(row.tau);
    EXPECT_EQ(toy.computed, row.computed) << row.tau;
    for (int i = 0; i < 4; ++i) EXPECT_NEAR(toy.final_x[i], row.final_x[i], 1e-6) << row.tau;
  }
  EXPECT_EQ(easycache_toy(0).computed.size(), 20u);
}

// MagCache

TEST(MagCache, PublishedSchedules) {
  struct Row {
    const char* curve;
    int steps;
    double error;
    int most_skipped;
    const char* computed;
  };
  const Row rows[] = {
      {"wan_1.3b", 50, .06, 2, "0-9,12,15,18,21,24,27,30,33,36,39,41,43,45-49"},
      {"wan_1.3b", 50, .12, 2, "0-9,12,15,18,21,24,27,30,33,36,39,42,44,46,48,49"},
      {"wan_1.3b", 50, .12, 4, "0-9,14,19,24,29,34,38,41,44,46,48,49"},
      {"wan_1.3b", 50, .24, 6, "0-9,16,23,30,36,41,45,47,49"},
      {"wan_14b", 50, .06, 2, "0-9,12,15,18,21,24,27,30,33,36,38,40,42,44-49"},
      {"wan_14b", 50, .12, 4, "0-9,14,19,24,29,34,38,41,44,46,48,49"},
      {"wan_14b", 50, .24, 6, "0-9,16,23,30,36,41,44,47,49"},
      {"wan_1.3b", 25, .12, 2, "0-4,7,10,13,16,19,22,24"},
      {"wan_14b", 25, .12, 4, "0-4,9,14,18,21,23,24"},
      {"wan_1.3b", 25, .24, 6, "0-4,11,18,22,24"},
      {"wan_1.3b", 20, .12, 2, "0-3,6,9,12,15,18,19"},
      {"wan_14b", 20, .12, 4, "0-3,8,13,16,18,19"},
      {"wan_1.3b", 20, .24, 6, "0-3,10,16,19"},
  };
  for (const Row& row : rows) {
    MagCache policy({.curve = curve(row.curve), .most_skipped = row.most_skipped});
    EXPECT_EQ(run(policy, drifting(0.01, row.steps), row.error), mask(row.computed, row.steps))
        << row.curve << ' ' << row.steps << ' ' << row.error << ' ' << row.most_skipped;
  }
}

TEST(MagCache, MeasuresItsCurveOnTheFirstChunk) {
  MagCache policy({.most_skipped = 4, .retention = 0.1});
  const std::vector<Scripted> script = drifting(-0.02, 24);
  EXPECT_EQ(run(policy, script, 0.1, nullptr, 0), std::vector<int>(24, 1));
  ASSERT_EQ(policy.curve().size(), 24u);
  EXPECT_EQ(policy.curve()[0], 1);
  for (int s = 1; s < 24; ++s) EXPECT_NEAR(policy.curve()[s], 0.98, 1e-5);
  // 1 - 0.98, 1 - 0.98^2, … add up to 0.12 at the third step.
  EXPECT_EQ(run(policy, script, 0.1, nullptr, 1), mask("0,1,4,7,10,13,16,19,22,23", 24));
  policy.reset();
  EXPECT_TRUE(policy.curve().empty());
}

TEST(MagCache, CurveFiles) {
  const test::TempFolder folder;
  const auto path = folder.path / "curve.json";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  write("[1, 0.99, 0.98]");
  EXPECT_EQ(read_curve(path), (std::vector<double>{1, 0.99, 0.98}));
  write(R"({"magcache": [1, 0.5]})");
  EXPECT_EQ(read_curve(path), (std::vector<double>{1, 0.5}));
  EXPECT_EQ(choose_reuse("magcache:curve_file=" + path.string()).make()->taps(), Tap::none);
  for (const char* broken : {"", "[", "[1]", "[1, -1]", "[1, \"a\"]", "{}", "[1, null]", "3"}) {
    write(broken);
    EXPECT_THROW(read_curve(path), Error) << broken;
  }
  std::filesystem::remove(path);
  EXPECT_THROW(read_curve(path), Error);
}

// static masks

TEST(StaticMasks, Scm) {
  const auto bits = [](const std::string& text) {
    std::vector<int> all;
    for (const char c : text) all.push_back(c == '1');
    return all;
  };
  EXPECT_EQ(play("scm:mask=slow", 28), bits("1111111101110011100110010001"));
  EXPECT_EQ(play("scm", 28), bits("1111110110001100011000110001"));
  EXPECT_EQ(play("scm:mask=ultra", 8), bits("11001001"));
  EXPECT_EQ(play("scm:mask=fast", 12), bits("111010010011"));
  EXPECT_EQ(play("scm", 4), bits("1101"));
  EXPECT_EQ(play("scm", 6), bits("111001"));
  const std::map<std::string, int64_t> computed = {{"slow", 38}, {"medium", 29}, {"fast", 20}, {"ultra", 14}};
  for (const auto& [name, count] : computed) {
    const std::string own = scm_mask(name, 50);
    EXPECT_EQ(std::count(own.begin(), own.end(), '1'), count) << name;
  }
  for (int steps = 1; steps < 120; ++steps) {
    const std::string own = scm_mask("fast", steps);
    EXPECT_EQ(own.size(), static_cast<size_t>(steps));
    EXPECT_EQ(own.front(), '1');
    EXPECT_EQ(own.back(), '1');
  }
}

TEST(StaticMasks, Interval) {
  EXPECT_EQ(play("interval", 7), mask("0,2,4,6", 7));
  EXPECT_EQ(play("interval:interval=3,start=2", 12), mask("0,1,2,5,8,11", 12));
  EXPECT_EQ(play("interval:interval=1", 6), std::vector<int>(6, 1));
  EXPECT_EQ(play("taylorseer", 12), mask("0-3,7,11", 12));
  EXPECT_EQ(play("interval", 7, 0.0), std::vector<int>(7, 1));
}

// prediction

TEST(StaticMasks, Ramp) {
  EXPECT_EQ(play("ramp:computed=5,end=0", 24), mask("0,3,8,15,23", 24));
  EXPECT_EQ(play("ramp:computed=6,end=0", 24), mask("0,2,6,11,16,23", 24));
  EXPECT_EQ(play("ramp:computed=6,power=1,end=0", 26), mask("0,5,10,15,20,25", 26));
  EXPECT_EQ(play("ramp:computed=2,end=0", 24), mask("0,23", 24));
  EXPECT_EQ(play("ramp:computed=50", 24), std::vector<int>(24, 1));
}

TEST(StaticMasks, RampMayEndBeforeTheLastStep) {
  EXPECT_EQ(play("ramp:computed=6,end=1", 24), mask("0,2,6,10,16,22", 24));
  EXPECT_EQ(play("ramp:computed=5,power=1,end=3", 24), mask("0,5,10,15,20", 24));
  EXPECT_EQ(play("ramp:computed=2,end=50", 4), mask("0,1", 4)) << "no further forward than the count allows";
  EXPECT_EQ(play("ramp:computed=7,end=2", 8), mask("0-6", 8));
  EXPECT_EQ(play("ramp:computed=8,end=2", 8), std::vector<int>(8, 1));
}

// R1: if a chunk's last keys become history, the stream computes its last step. That step then counts as one
// of the computed steps.
TEST(StaticMasks, RampEndsWithTheLastStepWhereThatBecomesHistory) {
  const auto policy = choose_reuse("ramp:computed=6,end=2").make();
  std::vector<int> computed;
  for (int step = 0; step < 24; ++step) {
    ChunkStep one = make_step(0, step, 24, 1.0);
    one.info.last_is_history = true;
    computed.push_back(policy->decide({&one, 1}, 1.0)[0].action == Action::compute);
  }
  EXPECT_EQ(computed, mask("0,2,6,11,16,23", 24));
}

TEST(StaticMasks, RampDoesNotDrawOutItsFirstLine) {
  EXPECT_EQ(play("ramp:computed=7,end=1", 24), mask("0,2,5,8,12,17,22", 24)) << "neither 0,1,4 nor 0,2,4";
  EXPECT_EQ(play("ramp:computed=8,end=0", 24), mask("0,2,5,8,10,14,18,23", 24)) << "not 0,2,4,6";
  EXPECT_EQ(play("ramp:computed=8", 24), mask("0,1,3,6,10,13,17,22", 24));
}

TEST(StaticMasks, RampEndsTheEarlierTheFewerItComputes) {
  EXPECT_EQ(play("ramp:computed=3", 24), mask("0,5,14", 24));
  EXPECT_EQ(play("ramp:computed=4", 24), mask("0,3,9,16", 24));
  EXPECT_EQ(play("ramp:computed=5", 24), mask("0,2,6,12,18", 24));
  EXPECT_EQ(play("ramp:computed=6", 24), mask("0,2,5,9,14,20", 24));
  EXPECT_EQ(play("ramp:computed=12", 24), mask("0,1,2,3,5,7,9,11,14,16,19,22", 24));
  EXPECT_EQ(play("ramp:computed=5", 50), mask("0,5,13,25,38", 50)) << "in proportion";
}

TEST(StaticMasks, RampComputesAsManyStepsAsItSays) {
  for (const char* rest : {"", ",power=4", ",end=0", ",power=3,end=9"})
    for (int steps : {8, 24, 50})
      for (int computed = 2; computed <= steps; ++computed) {
        const auto all = play("ramp:computed=" + std::to_string(computed) + rest, steps);
        EXPECT_EQ(std::count(all.begin(), all.end(), 1), computed) << steps << rest;
        EXPECT_EQ(all.front(), 1);
      }
}

TEST(Predictor, PublishedTaylorValues) {
  const double points[] = {4, 2, 0}, y[] = {2.5, 1.5, 1};
  const std::map<int, std::vector<double>> wanted = {
      {0, {2.5, 2.5, 2.5}}, {1, {3, 3.5, 4}}, {2, {3.0625, 3.75, 4.5625}}};
  for (const auto& [order, values] : wanted)
    for (int k = 1; k <= 3; ++k) {
      const std::vector<double> w = taylor_weights(points, 4.0 + k, order);
      EXPECT_NEAR(w[0] * y[0] + w[1] * y[1] + w[2] * y[2], values[k - 1], 1e-12) << order << k;
    }
}

TEST(Predictor, FewPointsLowerTheOrder) {
  const double one[] = {0.5};
  EXPECT_EQ(taylor_weights(one, 0.4, 3), (std::vector<double>{1}));
  const double two[] = {0.5, 0.7};
  const std::vector<double> w = taylor_weights(two, 0.4, 3);
  EXPECT_NEAR(w[0], 1.5, 1e-12);
  EXPECT_NEAR(w[1], -0.5, 1e-12);
}

TEST(Predictor, HoldingNeedsNoWrapper) {
  const auto policy = choose_reuse("flowcache").make();
  EXPECT_EQ(policy->residuals_kept(), 1);
  EXPECT_EQ(policy->prediction({}), (std::vector<double>{1}));
  EXPECT_TRUE(policy->correction({}).empty());
}

namespace {

// Runs a chunk as the stream does: kept residuals, prediction, correction, Euler. v(sigma) does not depend on
// x, so the exact result of every rule is known.
double integrate(ReusePolicy& policy, int steps, const std::function<double(double)>& v,
                 int* computed = nullptr, double threshold = 1) {
  double x = 0;
  std::vector<double> kept;
  for (int i = 0; i < steps; ++i) {
    ChunkStep step = make_step(0, i, steps, 1.0);
    const StepInfo& info = step.info;
    double velocity = 0;
    if (policy.decide({&step, 1}, threshold)[0].action == Action::compute) {
      velocity = v(info.sigma);
      policy.computed(step, at::full({2, 1, 2, 2}, velocity));
      kept.insert(kept.begin(), velocity);
      kept.resize(std::min<size_t>(kept.size(), policy.residuals_kept()));
      const std::vector<double> repair = policy.correction(info);
      EXPECT_LE(repair.size(), kept.size());
      for (size_t k = 0; k < repair.size(); ++k) x += repair[k] * kept[k];
      if (computed) ++*computed;
    } else {
      const std::vector<double> weights = policy.prediction(info);
      EXPECT_LE(weights.size(), kept.size());
      for (size_t k = 0; k < weights.size(); ++k) velocity += weights[k] * kept[k];
    }
    x += velocity * (info.sigma_next - info.sigma);
  }
  policy.end_chunk(0);
  return x;
}

}  // namespace

TEST(Predictor, LinearIsExactForLinearVelocities) {
  const auto v = [](double sigma) { return 3 * sigma - 1; };
  const double exact = integrate(*choose_reuse("none").make(), 24, v);
  int computed = 0;
  EXPECT_NEAR(integrate(*choose_reuse("interval:interval=4,start=2,order=1").make(), 24, v, &computed), exact,
              1e-12);
  EXPECT_EQ(computed, 9);
  EXPECT_GT(std::abs(integrate(*choose_reuse("interval:interval=4,start=2").make(), 24, v) - exact), 0.05);
}

TEST(Predictor, CorrectionMakesHoldingExactForLinearVelocities) {
  const auto v = [](double sigma) { return 3 * sigma - 1; };
  const double exact = integrate(*choose_reuse("none").make(), 24, v);
  EXPECT_NEAR(integrate(*choose_reuse("interval:interval=5,correct=1").make(), 24, v), exact, 1e-12);
}

TEST(Predictor, CorrectionIntegratesALineBetweenComputations) {
  // With correction only the computed velocities matter, whatever was predicted between them.
  const auto v = [](double sigma) { return std::exp(2 * sigma) * std::cos(2 * sigma); };
  const double one = integrate(*choose_reuse("interval:interval=5,correct=1").make(), 24, v);
  for (const char* spec : {"interval:interval=5,correct=1,order=1", "interval:interval=5,correct=1,order=2",
                           "interval:interval=5,correct=1,order=1,gain=0.3",
                           "interval:interval=5,correct=1,order=2,along=sigma"})
    EXPECT_NEAR(integrate(*choose_reuse(spec).make(), 24, v), one, 1e-12) << spec;
  const double exact = integrate(*choose_reuse("none").make(), 24, v);
  const double held = integrate(*choose_reuse("interval:interval=5").make(), 24, v);
  EXPECT_LT(std::abs(one - exact), std::abs(held - exact) / 4);
}

TEST(Predictor, CorrectingNeedsVelocities) {
  try {
    choose_reuse("flowcache:residual=token_residual,correct=1").make();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    EXPECT_NE(std::string(error.what()).find("residual=velocity"), std::string::npos);
  }
}

TEST(Predictor, ForgetsWhatTheStreamHasDropped) {
  for (const char* spec :
       {"interval:order=1,correct=1", "forecast", "flowcache:order=2,correct=1,warmup=0"}) {
    const auto policy = choose_reuse(spec).make();
    for (int i = 0; i < 8; ++i) {
      const ChunkStep step = make_step(0, i, 24, 1.0 + 0.001 * i);
      if (policy->decide({&step, 1}, 0.01)[0].action == Action::compute)
        policy->computed(step, at::full({2, 1, 2, 2}, 1.0 + i));
    }
    policy->residuals_dropped(0);
    ChunkStep step = make_step(0, 8, 24, 1.0);
    step.info.must_compute = true;
    policy->decide({&step, 1}, 0.01);
    policy->computed(step, at::full({2, 1, 2, 2}, 3.0));
    EXPECT_TRUE(policy->correction(step.info).empty()) << spec;
    EXPECT_EQ(policy->prediction(make_step(0, 9, 24, 1.0).info).size(), 1u) << spec;
  }
}

TEST(Predictor, ChunksDoNotShareTheirPast) {
  const auto policy = choose_reuse("interval:interval=3,order=1").make();
  std::vector<double> weights[2];
  for (int tick = 0; tick < 12; ++tick) {
    std::vector<ChunkStep> steps;
    for (int64_t c : {0, 1})
      if (const int s = tick - 2 * static_cast<int>(c); s >= 0) steps.push_back(make_step(c, s, 24, 1));
    const auto decisions = policy->decide(steps, 1.0);
    for (size_t i = 0; i < steps.size(); ++i) {
      if (decisions[i].action == Action::compute)
        policy->computed(steps[i], {});
      else
        weights[steps[i].info.chunk] = policy->prediction(steps[i].info);
    }
  }
  // Chunk 0 is at step 11 and was last computed at 9 and 6. Chunk 1 is at step 9, was last reused at 8, and
  // was last computed at 6 and 3.
  ASSERT_EQ(weights[0].size(), 2u);
  EXPECT_NEAR(weights[0][0], 1 + 2.0 / 3, 1e-9);
  EXPECT_NEAR(weights[1][0], 1 + 2.0 / 3, 1e-9);
}

// Forecast

TEST(Forecast, LinearVelocitiesNeedTheNetworkOnlyAtTheEnds) {
  const auto v = [](double sigma) { return 3 * sigma - 5; };
  int computed = 0;
  const auto policy = choose_reuse("forecast").make();
  EXPECT_NEAR(integrate(*policy, 24, v, &computed), integrate(*choose_reuse("none").make(), 24, v), 1e-9);
  EXPECT_EQ(computed, 4);  // the first three and the last
}

TEST(Forecast, SmallerThresholdsComputeMoreAndErrLess) {
  const auto v = [](double sigma) { return 2 + std::exp(2 * sigma) * std::cos(4 * sigma); };
  const double exact = integrate(*choose_reuse("none").make(), 48, v);
  int computed_before = 0;
  for (const double threshold : {0.1, 0.01, 0.001}) {
    const auto policy = choose_reuse("forecast").make();
    int computed = 0;
    const double x = integrate(*policy, 48, v, &computed, threshold);
    EXPECT_GT(computed, computed_before) << threshold;
    EXPECT_LT(computed, 48);
    EXPECT_LT(std::abs(x - exact), threshold * 2) << threshold;
    computed_before = computed;
  }
}

TEST(Forecast, TheErrorOfTheLastExtrapolationSetsTheNextStride) {
  // v = sigma^2. The error of the linear extrapolation is exactly the product of the two distances, so the
  // curvature is 1/v.
  const auto policy = choose_reuse("forecast:warmup=3").make();
  std::vector<Decision> seen;
  for (int i = 0; i < 5; ++i) {
    const ChunkStep step = make_step(0, i, 10, 1.0);
    seen.push_back(policy->decide({&step, 1}, 1.0)[0]);
    if (seen.back().action == Action::compute)
      policy->computed(step, at::full({2, 1, 2, 2}, step.info.sigma * step.info.sigma));
  }
  // Computed at 1, 0.9, 0.8: curvature 1 / 0.64. Reused at 0.7 and 0.6, each over a step of 0.1.
  EXPECT_NEAR(seen[3].distance, 0.1 * 0.2 / 0.64 * 0.1, 1e-6);
  EXPECT_NEAR(seen[4].distance, 0.2 * 0.3 / 0.64 * 0.1, 1e-6);
  EXPECT_NEAR(seen[4].accumulated, seen[3].distance + seen[4].distance, 1e-9);
}

TEST(Forecast, LaterChunksBeginWithWhatTheFirstMeasured) {
  const auto v = [](double sigma) { return 3 * sigma - 5; };
  const auto policy = choose_reuse("forecast").make();
  const auto computed = [&] {
    int count = 0;
    integrate(*policy, 24, v, &count);
    return count;
  };
  EXPECT_EQ(computed(), 4);
  EXPECT_EQ(computed(), 2);
  policy->reset();
  EXPECT_EQ(computed(), 4);
}

TEST(Forecast, SkipsNoMoreThanAllowed) {
  const auto v = [](double sigma) { return 3 * sigma - 5; };
  int computed = 0;
  integrate(*choose_reuse("forecast:most_skipped=2").make(), 24, v, &computed);
  EXPECT_EQ(computed, 3 + 6 + 1);
}
