// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache calibrate: measures a model's MagCache curve and writes it beside the weights.
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/handles.h"

namespace flowcache::cli {

namespace {

struct CalibrateArguments {
  EngineChoice engine;
  std::string out;
  std::vector<std::string> prompts = {"green aurora", "orange fire", "red lava lamp", "blue snow"};
  uint32_t chunks = 3, steps = 0, lag = 0;
};

int show(void*, const char*, double share) {
  std::fprintf(stderr, "\r%3.0f %%", 100 * share);
  return 0;
}

int run(const CalibrateArguments& a) {
  std::string file = a.out;
  if (file.empty()) {
    const char* shipped = fc_default_model();
    file =
        (a.engine.model.empty() ? std::string(shipped ? shipped : ".") : a.engine.model) + "/magcache.json";
  }
  check_output(file, "; name another file with --out");
  const OwnedEngine engine = a.engine.open();
  fc_stream_config config{};
  config.size = sizeof config;
  config.steps = a.steps;
  config.lag = a.lag;
  config.width = a.engine.size.width;
  config.height = a.engine.size.height;
  std::vector<const char*> prompts;
  for (const auto& prompt : a.prompts) prompts.push_back(prompt.c_str());
  check(fc_engine_calibrate(engine.get(), &config, prompts.data(), static_cast<uint32_t>(prompts.size()),
                            a.chunks, show, nullptr, file.c_str()));
  std::fprintf(stderr, "\nwrote %s; use it with cache=\"magcache:curve_file=%s\"\n", file.c_str(),
               file.c_str());
  return 0;
}

}  // namespace

Command add_calibrate(CLI::App& app) {
  auto a = std::make_shared<CalibrateArguments>();
  auto* command = app.add_subcommand(
      "calibrate", "Measure how a model's velocities change from step to step, for the policy magcache");
  a->engine.add_options(*command);
  command->add_option("-o,--out", a->out, "File to write; default: magcache.json beside the weights");
  command->add_option("--prompt", a->prompts, "Prompts; may be given several times")->capture_default_str();
  command->add_option("--chunks", a->chunks, "Chunks per prompt")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--steps", a->steps, "Steps per chunk; 0: the model's")->check(CLI::Range(0, 1000));
  command->add_option("--lag", a->lag, "Steps between chunk starts; 0: the model's")
      ->check(CLI::Range(0, 1000));
  return [a] { return run(*a); };
}

}  // namespace flowcache::cli
