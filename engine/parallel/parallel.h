// SPDX-License-Identifier: LGPL-2.1-or-later
// One stream over several devices or machines: what the rest of the engine sees of this room.
//
// The caller's process is rank 0. It runs the whole stream (policies, samplers, decoding) and of the network its share;
// the other ranks are workers, which have the network and their share of the keys and values, and do what rank 0 says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "stream/loaded_model.h"

namespace flowcache {

struct RankOptions {
  // Of each rank: "cpu", "cuda:1", or "join" for a worker that comes to `listen`. The first one is the caller's process.
  std::vector<std::string> devices;
  std::string attention;    // "", "auto", "heads", "rows": see choose_attention_split()
  uint32_t timeout_ms = 0;  // how long an exchange may take; 0: 30000
  std::string listen;       // HOST:PORT that workers join at; "": none may
  // "", "auto", "go_on": when a worker is lost, streams go on in those that are left; "end": they end.
  std::string on_lost_rank;
};

// "cuda:0,cuda:1" -> its parts. Throws FC_ERROR_ARGUMENT for an empty one, and for more than 64.
std::vector<std::string> parse_devices(const std::string& list);

// As LoadedModel::load(), on all ranks: starts the workers of this machine, waits for those that join (at most ten minutes;
// `progress` may cancel), and compares what they have loaded. `options.device` is not looked at; options.threads are those
// of each rank, 0: the processors that this process may use, shared among its ranks on the CPU. Throws those errors,
// FC_ERROR_ARGUMENT for options that do not fit together, and FC_ERROR_DEVICE, with the reason, if a worker cannot be used.
std::shared_ptr<const LoadedModel> load_on_ranks(const LoadOptions& options, const RankOptions& ranks,
                                                 const Progress& progress);

struct WorkerOptions {
  int socket = -1;   // of the process that has started this one; negative: `join` is given
  std::string join;  // HOST:PORT
  // For a worker that joins; the others get theirs from rank 0.
  std::string model, device;
  uint32_t threads = 0;
  uint64_t memory_limit = 0;
};

// Serves one rank 0 until that is gone. Throws the errors of load_on_ranks().
void run_worker(const WorkerOptions& options);

}  // namespace flowcache
