// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache bench: runs all combinations of policies, thresholds, budgets and schedules, side by side.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

#include "cli/bench/bench.h"
#include "cli/commands.h"
#include "cli/handles.h"

namespace flowcache::cli {

namespace {

struct BenchArguments {
  EngineChoice engine;
  std::string json, html;
  std::vector<std::string> caches = {"flowcache"}, kv_caches = {""}, prompts;
  std::vector<double> thresholds = {0};
  std::vector<uint64_t> budgets = {0};
  std::vector<uint32_t> lags = {0}, steps = {0}, clean = {0};
  double guidance = 0;
  int chunks = 6;
  uint64_t seed = 1;
  bool quick = false;
};

BenchPlan make_plan(const BenchArguments& a) {
  BenchPlan plan;
  plan.prompts = a.prompts.empty()
                     ? std::vector<std::string>{"green aurora", "orange fire", "red lava lamp", "blue snow"}
                     : a.prompts;
  plan.chunks = a.chunks;
  plan.seed = a.seed;
  plan.size = a.engine.size;
  if (a.quick) {
    plan.prompts.resize(1);
    plan.chunks = std::min(plan.chunks, 2);
  }
  for (const uint32_t steps : a.steps)
    for (const uint32_t lag : a.lags) {
      BenchCase reference;
      reference.steps = steps;
      reference.lag = lag;
      reference.guidance = a.guidance;
      plan.cases.push_back(reference);
      for (const auto& cache : a.caches)
        for (const double threshold : cache == "none" ? std::vector<double>{0} : a.thresholds)
          for (const auto& kv : a.kv_caches)
            for (const uint64_t budget : a.budgets)
              for (const uint32_t clean : a.clean) {
                BenchCase one{cache, kv, threshold, budget, steps, lag, a.guidance, clean};
                if (cache != "none" || !kv.empty() || budget != 0 || clean != 0) plan.cases.push_back(one);
              }
    }
  return plan;
}

void save(const std::string& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  if (!(out << text) || !out.flush())
    throw std::runtime_error("cannot write " + file + ": " + std::strerror(errno));
  std::fprintf(stderr, "wrote %s\n", file.c_str());
}

int run(const BenchArguments& a) {
  for (const std::string& file : {a.json, a.html})
    if (!file.empty()) check_output(file, "");
  const OwnedEngine engine = a.engine.open();
  fc_model_info model{};
  model.size = sizeof model;
  check(fc_engine_describe(engine.get(), &model));
  const BenchPlan plan = make_plan(a);
  fc_cpu_info cpu{};
  cpu.size = sizeof cpu;
  check(fc_cpu_describe(&cpu));
  std::fprintf(stderr, "%zu cases x %zu prompts x %d chunks on %s in %s; CPU: %s\n", plan.cases.size(),
               plan.prompts.size(), plan.chunks, fc_engine_device(engine.get()),
               fc_engine_precision(engine.get()), instructions_of(cpu).c_str());
  const auto results =
      run_bench(engine.get(), plan, [](double share) { std::fprintf(stderr, "\r%3.0f %%", 100 * share); });
  std::fputc('\n', stderr);
  std::fputs(bench_table(results, model).c_str(), stdout);
  const std::string json = bench_json(results, plan, model, cpu);
  if (!a.json.empty()) save(a.json, json);
  if (!a.html.empty()) save(a.html, bench_html(json));
  return 0;
}

}  // namespace

Command add_bench(CLI::App& app) {
  auto a = std::make_shared<BenchArguments>();
  auto* command =
      app.add_subcommand("bench", "Compare caching policies: speed, quality, memory, in one interleaved run");
  command->add_option("--cache", a->caches, "Reuse policies, each name or name:option=value")
      ->delimiter(';')
      ->capture_default_str();
  command
      ->add_option("--cache-threshold", a->thresholds,
                   "Thresholds to try with each policy; 0: the policy's own")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command->add_option("--kv-cache", a->kv_caches, "KV policies")->delimiter(';');
  command->add_option("--kv-budget", a->budgets, "KV budgets, with suffixes like 8MB")
      ->delimiter(',')
      ->transform(CLI::AsSizeValue(true));
  command->add_option("--steps", a->steps, "Steps per chunk")->delimiter(',');
  command->add_option("--lag", a->lags, "Steps between chunk starts; smaller means more chunks in flight")
      ->delimiter(',');
  command
      ->add_option("--clean-context", a->clean,
                   "Clean pass of finished chunks: 0 as the model says, 1 no, 2 yes")
      ->delimiter(',')
      ->check(CLI::Range(0, 2));
  command->add_option("--guidance", a->guidance, "Scale of classifier-free guidance; 0: the model's")
      ->check(CLI::Range(0.0, 50.0));
  command->add_option("--prompt", a->prompts, "Prompts; may be given several times");
  command->add_option("--chunks", a->chunks, "Chunks per prompt")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--seed", a->seed, "Seed of the first prompt; the others count up")
      ->capture_default_str();
  a->engine.add_options(*command);
  command->add_option("--json", a->json, "Also write every figure as JSON");
  command->add_option("--html", a->html, "Also write one self-contained page with plots");
  command->add_flag("--quick", a->quick, "One prompt, two chunks: a smoke test");
  return [a] { return run(*a); };
}

}  // namespace flowcache::cli
