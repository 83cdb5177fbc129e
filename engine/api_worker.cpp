// SPDX-License-Identifier: LGPL-2.1-or-later
#include "api_worker.h"

#include <nlohmann/json.hpp>

#include "api_guard.h"
#include "parallel/parallel.h"

extern "C" fc_status fc_worker_run(const char* request) {
  return flowcache::guarded([&] {
    const nlohmann::json wanted = nlohmann::json::parse(flowcache::text(request), nullptr, false);
    if (!wanted.is_object()) throw flowcache::Error(FC_ERROR_ARGUMENT, "request is no JSON object");
    flowcache::WorkerOptions options;
    options.socket = wanted.value("socket", -1);
    options.join = wanted.value("join", "");
    options.model = wanted.value("model", "");
    if (const char* shipped = fc_default_model(); options.model.empty() && shipped) options.model = shipped;
    options.device = wanted.value("device", "");
    options.threads = wanted.value("threads", 0U);
    options.memory_limit = wanted.value("memory_limit", uint64_t{0});
    if (options.socket < 0 && options.join.empty())
      throw flowcache::Error(FC_ERROR_ARGUMENT, "neither a socket nor an address to join at is given");
    flowcache::run_worker(options);
  });
}
