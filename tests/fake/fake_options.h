// SPDX-License-Identifier: LGPL-2.1-or-later
// What the fake engine is told to do. `model` is "fake:name=value,…"; without one, $FLOWCACHE_FAKE has the
// same form.
#pragma once

#include <cstdint>
#include <string>

namespace fake {

constexpr uint64_t kNever = UINT64_MAX;

struct Options {
  uint32_t width = 64, height = 48, fps_n = 16, fps_d = 1, frames = 4, steps = 4, lag = 4;
  uint32_t size_step =
      0;  // pictures may be other multiples of this, from half to twice the native size; 0: they may not
  uint32_t load_ms = 0;                           // loading takes this long, in steps of 2 ms with progress
  uint32_t chunk_ms = 0;                          // a chunk takes this long; can be cancelled
  uint64_t slow_from = kNever, slow_to = kNever;  // these chunks take slow_ms instead
  uint32_t slow_ms = 0;
  uint32_t report_ms = 0;  // what chunks claim to have taken; 0: the truth
  uint32_t expect_ms = 0;  // what a chunk of strength 1 is expected to take; 0: what it takes
  uint32_t least_ms = 0;   // what chunks of the least quality claim to take, in a governed stream
  uint32_t fail_describe = 0, fail_open = 0, fail_stream = 0, fail_write = 0;  // an fc_status
  uint64_t fail_at = kNever;  // fc_stream_next() of this chunk fails with fail_status
  uint32_t fail_status = 8;
  uint64_t throw_at = kNever;  // … throws
  uint64_t end_at = kNever;    // … says FC_ENDED
  uint32_t blank = 0;          // frames are not painted, for measurements
  uint32_t twice = 0;          // the frame's number is painted twice: fake_paint.h
  uint32_t cuda = 0;  // runs on the device unless it is told not to; 1: writes CUDA memory, 2: refuses to
  uint32_t throw_open = 0;    // fc_engine_open() throws
  uint64_t needs = 0;         // bytes; a smaller memory limit is refused
  uint32_t blind = 0;         // there is no encoder, so the stream cannot be fed
  uint64_t lose_at = kNever;  // of three devices one is lost at this chunk, and another one at the next
};

// False and a sentence if `text` is not of that form.
bool parse(const std::string& text, Options* options, std::string* error);

// Options of this model argument (may be null).
bool options_of(const char* model, Options* options, std::string* error);

// 16 bits of a prompt, as they are painted.
uint32_t prompt_hash(const std::string& prompt);

}  // namespace fake
