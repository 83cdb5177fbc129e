// SPDX-License-Identifier: LGPL-2.1-or-later
// An engine with the interface of flowcache.h, without LibTorch: deterministic pictures, and faults on
// demand. Tests of the element choose it with $FLOWCACHE_ENGINE. This half: the library and the model;
// fake_stream.cpp: the video.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "fake_objects.h"

namespace fake {
namespace {
thread_local std::string last_error;
std::mutex opened_mutex;
std::string opened_with;  // under `opened_mutex`

bool is_precision(const std::string& name) {
  return name == "auto" || name == "fp32" || name == "bf16" || name == "fp8" || name == "int8";
}
}  // namespace

Counters& counters() {
  static Counters all;
  return all;
}

Gate& gate() {
  static Gate one;
  return one;
}

fc_status fail(fc_status status, const std::string& sentence) {
  last_error = sentence;
  return status;
}

fc_status fail_on_demand(uint32_t status, const char* call) {
  return fail(static_cast<fc_status>(status),
              std::string(call) + " fails because the test asked for it: ask for less");
}

}  // namespace fake

extern "C" {

FC_API int fake_live_engines() {
  return fake::counters().live_engines;
}
FC_API int fake_live_streams() {
  return fake::counters().live_streams;
}
FC_API int fake_live_chunks() {
  return fake::counters().live_chunks;
}
FC_API int fake_opened_engines() {
  return fake::counters().opened_engines;
}
FC_API int fake_prompts_taken() {
  return fake::counters().prompts_taken;
}
FC_API int fake_fed_from_cuda() {
  return fake::counters().fed_from_cuda;
}
FC_API int fake_restarts() {
  return fake::counters().restarts;
}
// Chunks from this one on wait; UINT64_MAX opens the gate.
FC_API void fake_hold_from(uint64_t chunk) {
  {
    std::lock_guard lock(fake::gate().mutex);
    fake::gate().first = chunk;
  }
  fake::gate().changed.notify_all();
}

// The configuration of the last fc_engine_open(), as text. Valid until the calling thread's next
// call.
FC_API const char* fake_opened_with() {
  thread_local std::string copy;
  std::lock_guard lock(fake::opened_mutex);
  copy = fake::opened_with;
  return copy.c_str();
}

const char* fc_last_error(void) {
  return fake::last_error.c_str();
}
uint32_t fc_abi_version(void) {
  const char* other = std::getenv("FLOWCACHE_FAKE_ABI");
  return other == nullptr ? FC_ABI_VERSION : static_cast<uint32_t>(std::atoi(other));
}
const char* fc_version(void) {
  return "0.0.0";
}
const char* fc_status_name(fc_status) {
  return "fake";
}
void fc_set_log_function(fc_log_function function, void* user) {
  if (function != nullptr) function(user, FC_LOG_INFO, "the fake engine can log");
}
const char* fc_default_model(void) {
  return "fake";
}
fc_status fc_policy_describe(uint32_t, fc_policy_info*) {
  return fake::fail(FC_ERROR_NOT_FOUND, "no more policies");
}

fc_status fc_model_describe(const char* model, fc_model_info* info) {
  fake::Options o;
  std::string error;
  if (!fake::options_of(model, &o, &error)) return fake::fail(FC_ERROR_NOT_FOUND, error);
  if (o.fail_describe != 0) return fake::fail_on_demand(o.fail_describe, "fc_model_describe");
  const size_t size = info->size;
  *info = {};
  info->size = size;
  std::strcpy(info->name, "fake");
  std::strcpy(info->family, "fake");
  info->width = o.width;
  info->height = o.height;
  if (o.size_step != 0) {
    info->step = {o.size_step, o.size_step};
    info->least = {o.width / 2, o.height / 2};
    info->most = {2 * o.width, 2 * o.height};
  }
  info->fps_n = o.fps_n;
  info->fps_d = o.fps_d;
  info->frames_per_chunk = o.frames;
  info->latent_frames_per_chunk = 1;
  info->steps = o.steps;
  info->lag = o.lag;
  info->guidance_scale = 1;
  info->cache_threshold = 0.1;
  return FC_OK;
}

fc_status fc_engine_open(const fc_engine_config* config, fc_progress_function progress, void* user,
                         fc_engine** engine) {
  fake::Options o;
  std::string error;
  if (!fake::options_of(config->model, &o, &error)) return fake::fail(FC_ERROR_NOT_FOUND, error);
  if (o.throw_open != 0) throw std::runtime_error("thrown by fc_engine_open");
  const std::string device = config->device == nullptr ? "auto" : config->device;
  const bool on_cuda = o.cuda != 0 && device != "cpu";
  if (!on_cuda && device != "auto" && device != "cpu")
    return fake::fail(FC_ERROR_DEVICE, "device \"" + device + "\" is missing: use cpu");
  const std::string precision = config->precision == nullptr ? "auto" : config->precision;
  if (!fake::is_precision(precision))
    return fake::fail(FC_ERROR_ARGUMENT, "precision \"" + precision + "\" is unknown: use fp32");
  const std::string kv_precision = config->kv_precision == nullptr ? "auto" : config->kv_precision;
  if (kv_precision != "auto" && kv_precision != "full" && kv_precision != "int8")
    return fake::fail(FC_ERROR_ARGUMENT, "kv_precision \"" + kv_precision + "\" is unknown: use auto");
  if (config->memory_limit != 0 && config->memory_limit < o.needs)
    return fake::fail(FC_ERROR_MEMORY, "the model needs " + std::to_string(o.needs) +
                                           " bytes, the limit is " + std::to_string(config->memory_limit));
  const uint32_t waits = o.load_ms / 2;
  for (uint32_t i = 0; i <= waits; ++i) {
    const double fraction = waits == 0 ? 1.0 : static_cast<double>(i) / waits;
    if (progress != nullptr && progress(user, "load", fraction) != 0)
      return fake::fail(FC_CANCELLED, "cancelled");
    if (i < waits) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (o.fail_open != 0) return fake::fail_on_demand(o.fail_open, "fc_engine_open");
  *engine = new fc_engine{o, on_cuda, precision == "auto" ? "fp32" : precision};
  std::lock_guard lock(fake::opened_mutex);
  fake::opened_with = "device=" + device + " precision=" + precision + " kv-precision=" + kv_precision +
                      " threads=" + std::to_string(config->threads) +
                      " memory-limit=" + std::to_string(config->memory_limit) +
                      " slice-tokens=" + std::to_string(config->slice_tokens);
  ++fake::counters().live_engines;
  ++fake::counters().opened_engines;
  return FC_OK;
}

void fc_engine_unref(fc_engine* engine) {
  if (engine == nullptr || --engine->references > 0) return;
  delete engine;
  --fake::counters().live_engines;
}
fc_status fc_engine_describe(fc_engine*, fc_model_info* info) {
  return fc_model_describe(nullptr, info);
}
const char* fc_engine_device(fc_engine* engine) {
  return engine->on_cuda ? "cuda:0" : "cpu";
}
const char* fc_engine_precision(fc_engine* engine) {
  return engine->precision.c_str();
}

}  // extern "C"
