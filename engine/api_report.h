// SPDX-License-Identifier: LGPL-2.1-or-later
// An interface between libflowcache and its command-line tool, for what `flowcache inspect` prints beyond
// fc_model_describe(). It is not installed and not part of the stable API.
#pragma once

#include "flowcache.h"

#ifdef __cplusplus
extern "C" {
#endif

// Returns a JSON object about a model. No weights are read, and no file but model.json must exist.
//   folder, license
//   positions                                           where the model's KV policy lets kept frames stand in time
//   files   [{section, name, source, present, bytes}]   everything that model.json names
//   words   [text]                                      the vocabulary, if the model has a fixed one
//   memory  [{what, bytes, on_host}]                    needs of the model and one stream of its own settings
// device, precision, kv_precision: as in fc_engine_config; "gpu" is a GPU that need not exist. The text belongs to the
// calling thread and is valid until its next call. Errors: those of fc_model_describe(), and
// FC_ERROR_DEVICE.
FC_API fc_status fc_model_report(const char* model, const char* device, const char* precision,
                                 const char* kv_precision, const char** json);

// Returns a JSON object: what to choose so that the model and one stream fit a GPU of `gpu_bytes`, whether there is one
// or not. No file but model.json need exist.
//   fits                      false: not even the settings that take least, which are told then
//   precision                 "bf16" or "fp8"
//   history_chunks, of        for cache.history_chunks in model.json, and what it has there
//   one_at_a_time             true: sampler.lag 0 in model.json, one chunk in flight where the model has several
//   width, height, native     the picture, and whether that is the native size
//   device_bytes, host_bytes  what that takes
FC_API fc_status fc_model_fit(const char* model, uint64_t gpu_bytes, const char** json);

// Returns a JSON object: how `count` devices, from 2 to 64, share a chunk of the model's own size (parallel/plan.h).
// attention: as fc_engine_config.attention_split.
//   attention          "heads" or "rows", or "guidance branches" where each of two devices runs one of two
//   tokens             of a chunk
//   forward_passes     of a chunk whose steps are all computed, guidance and the clean pass included
//   ranks              [{rows, heads, kv_heads, memory, exchanges, given, taken}]   memory: as in fc_model_report(); the
//                      others are of one forward pass: calls, and bytes to and from other ranks, tokens in fp32
//   chunks_in_flight
//   tick, chunks       {exchanges, given}: of the rank that gives most, while all chunks in flight run once: as above, and
//                      with whole chunks for each rank (traffic_of_chunks()); not where these are fewer than the devices
FC_API fc_status fc_ranks_report(const char* model, const char* device, const char* precision,
                                 const char* kv_precision, uint32_t count, const char* attention,
                                 const char** json);

#ifdef __cplusplus
}
#endif
