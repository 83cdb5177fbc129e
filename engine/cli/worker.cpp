// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache worker: one device of a stream that runs on several.
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "api_worker.h"
#include "cli/commands.h"

namespace flowcache::cli {
namespace {

struct WorkerArguments {
  std::string join, model, device = "auto", token_file;
  uint32_t threads = 0;
  uint64_t memory_limit = 0;
  int socket = -1;
};

int run(const WorkerArguments& a) {
  if (a.join.empty() == (a.socket < 0))
    throw std::runtime_error("worker: name the stream that waits for this worker with --join HOST:PORT");
  // Ctrl+C is for the process that has started this one, which then ends it.
  if (a.socket >= 0) std::signal(SIGINT, SIG_IGN);
  if (!a.token_file.empty()) setenv("FLOWCACHE_TOKEN_FILE", a.token_file.c_str(), 1);
  const nlohmann::json request = {{"socket", a.socket},   {"join", a.join},
                                  {"model", a.model},     {"device", a.device},
                                  {"threads", a.threads}, {"memory_limit", a.memory_limit}};
  check(fc_worker_run(request.dump().c_str()));
  return 0;
}

}  // namespace

Command add_worker(CLI::App& app) {
  auto a = std::make_shared<WorkerArguments>();
  auto* command =
      app.add_subcommand("worker", "Lend a device to a stream that runs on several (pipelines/SCALE.md)");
  command->add_option("--join", a->join, "HOST:PORT of the stream, which has that as --listen");
  command->add_option("--token-file", a->token_file,
                      "File whose first line is the token; default: FLOWCACHE_TOKEN or FLOWCACHE_TOKEN_FILE");
  command->add_option("-m,--model", a->model, "Folder with model.json; default: the model that ships");
  command->add_option("--device", a->device, "auto, cpu, cuda, cuda:N")->capture_default_str();
  command->add_option("--threads", a->threads, "CPU threads; 0: as many as this process may keep busy")
      ->capture_default_str();
  command
      ->add_option("--memory-limit", a->memory_limit,
                   "Bytes to plan with; 0: what the device has free; takes suffixes like 8GB")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--socket", a->socket)->group("");  // of the process that starts it
  return [a] { return run(*a); };
}

}  // namespace flowcache::cli
