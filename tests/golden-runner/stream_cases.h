// SPDX-License-Identifier: LGPL-2.1-or-later
// Calls of the published pipelines, run by the engine's own Stream: the endless schedule, one chunk at a
// time, and the family's passes through the common interface. The caller leaves out what a stream does
// differently.
#pragma once

#include "case.h"
#include "magi_pipeline.h"

namespace golden {

void compare_magi_stream(Case& one, const nlohmann::json& call, const MagiRun& run);
void compare_skyreels_stream(Case& one, const nlohmann::json& call);

// One window of chunks 0, 1, … with the base model's three passes, one chunk at a time and with the engine's
// own cache. Gives the velocities.
struct MagiStreamChunk {
  at::Tensor x;
  double t = 0;
  at::Tensor caption;  // [n, channels], padding removed
};
at::Tensor guided_in_stream(const Case& one, const std::vector<MagiStreamChunk>& chunks);
// A case's captions, one for each chunk.
std::vector<at::Tensor> read_captions_of(const Case& one, const nlohmann::json& in);

}  // namespace golden
