// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache: the engine as a command-line tool, without GStreamer.
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/sleep_at_barriers.h"
#include "cli/commands.h"

namespace {

// Prints warnings and errors, and all other messages if `verbose` points to true.
void print_log(void* verbose, fc_log_level level, const char* message) {
  if (level > FC_LOG_WARNING && !*static_cast<const bool*>(verbose)) return;
  static const char* const names[] = {"", "error", "warning", "info", "debug"};
  std::fprintf(stderr, "flowcache: %s: %s\n", names[level], message);
}

void list_policies() {
  fc_policy_info info{};
  info.size = sizeof info;
  const char* const kinds[] = {"cache", "kv", "+", "+"};
  for (uint32_t i = 0; fc_policy_describe(i, &info) == FC_OK; ++i)
    std::printf("%-6s %-16s %s%s%s%s\n", kinds[info.kind], info.name, info.summary, *info.paper ? " [" : "",
                info.paper, *info.paper ? "]" : "");
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  CLI::App app{"Endless video from a text prompt, with FlowCache (arXiv 2602.10825)."};
  app.set_version_flag("--version", std::string("flowcache ") + fc_version());
  bool verbose = false;
  app.add_flag("-v,--verbose", verbose, "Print all of the engine's log, not just warnings");
  app.require_subcommand(1);
  std::map<const CLI::App*, flowcache::cli::Command> commands;
  for (const auto add :
       {flowcache::cli::add_generate, flowcache::cli::add_inspect, flowcache::cli::add_measure,
        flowcache::cli::add_bench, flowcache::cli::add_calibrate, flowcache::cli::add_doctor,
        flowcache::cli::add_adopt, flowcache::cli::add_worker}) {
    auto command = add(app);
    commands[app.get_subcommands([](const CLI::App*) { return true; }).back()] = std::move(command);
  }
  auto* policies = app.add_subcommand("policies", "List the caching policies and the papers they come from");
  CLI11_PARSE(app, argc, argv);
  fc_set_log_function(print_log, &verbose);
  try {
    if (policies->parsed()) return list_policies(), EXIT_SUCCESS;
    for (const auto& [subcommand, command] : commands)
      if (subcommand->parsed()) return command();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flowcache: %s\n", error.what());
  }
  return EXIT_FAILURE;
}
