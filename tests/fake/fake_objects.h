// SPDX-License-Identifier: LGPL-2.1-or-later
// The fake engine's objects and what its two halves share.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fake_options.h"
#include "fake_paint.h"
#include "flowcache.h"

namespace fake {

// Counted so that tests can see what is left over.
struct Counters {
  std::atomic<int> live_engines{0}, live_streams{0}, live_chunks{0}, opened_engines{0}, prompts_taken{0},
      restarts{0}, fed_from_cuda{0};
};
Counters& counters();

// A gate in fc_stream_next(), so that tests need no timing: chunks from `first` on wait until it is moved.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t first = kNever;
};
Gate& gate();

// Remembers the sentence for fc_last_error() and returns the status.
fc_status fail(fc_status status, const std::string& sentence);
// As above for a fault that an option asks for.
fc_status fail_on_demand(uint32_t status, const char* call);

}  // namespace fake

struct fc_engine {
  fake::Options options;
  bool on_cuda = false;
  std::string precision;
  std::atomic<int> references{1};
};

struct fc_chunk {
  fc_engine* engine;
  std::atomic<int> references{1};
  fc_chunk_info info;
  uint32_t hash;
  std::vector<uint8_t> decisions;
  std::vector<fake::FedPixel> fed;  // of each frame that it repaints; painted in the lower third
};

struct fc_stream {
  fc_engine* engine;
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<bool> cancelled{false};
  uint32_t width = 0, height = 0;
  uint64_t seed = 0, chunk = 0, ticket = 0, last_ticket = 0;
  std::string prompt, unknown, negative;
  bool guided = false, governed = false, no_clean_pass = false;
  struct Change {
    uint64_t ticket;
    std::string text;
    bool recache;
  };
  std::map<uint64_t, Change> changes;  // by first chunk
  struct Fed {
    double strength;
    std::vector<fake::FedPixel> levels;
  };
  std::deque<Fed> fed;
  fc_stream_stats stats{};
  std::map<uint64_t, std::pair<uint64_t, std::string>> loras;  // tickets and lists by first chunk
  std::string lora;
  uint64_t lora_ticket = 0, last_lora = 0;
  bool lora_cancelled = false;
};
