// SPDX-License-Identifier: LGPL-2.1-or-later
// An interface between libflowcache and its command-line tool, for flowcache worker. It is not installed and not part of
// the stable API.
#pragma once

#include "flowcache.h"

#ifdef __cplusplus
extern "C" {
#endif

// Serves one stream as one of its ranks (parallel/parallel.h) and returns when that is gone. request: a JSON object
// {socket} or {join, model, device, threads, memory_limit}; what is missing is the default. Errors: those of
// fc_engine_open(), and FC_ERROR_DEVICE if there is no stream, if it refuses this worker, or if other ranks are lost.
FC_API fc_status fc_worker_run(const char* request);

#ifdef __cplusplus
}
#endif
