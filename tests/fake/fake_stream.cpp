// SPDX-License-Identifier: LGPL-2.1-or-later
// The fake engine's streams and chunks.
#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <tuple>

#include "fake_objects.h"
#include "fake_paint.h"

namespace {

fc_status check_prompt(const char* text) {
  const size_t size = text == nullptr ? 0 : std::strlen(text);
  if (size > 8192)
    return fake::fail(FC_ERROR_ARGUMENT, "prompt of " + std::to_string(size) + " bytes, limit is 8192");
  const auto in_no_utf8 = [](char c) { return static_cast<unsigned char>(c) >= 0xf8; };
  if (std::any_of(text, text + size, in_no_utf8))
    return fake::fail(FC_ERROR_ARGUMENT, "the prompt is not UTF-8");
  return FC_OK;
}

// What a policy and its options are written with.
bool is_spec(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("_:=,.+-/", c) != nullptr;
}

std::string unknown_words_of(const std::string& prompt) {
  std::string unknown;
  size_t from = 0;
  while (from < prompt.size()) {
    const size_t to = std::min(prompt.find(' ', from), prompt.size());
    const std::string word = prompt.substr(from, to - from);
    if (word.rfind("zz", 0) == 0) unknown += (unknown.empty() ? "" : ", ") + word;
    from = to + 1;
  }
  return unknown;
}

// As a kernel could: in the primary context only. Asks the stand-in driver of tests/fake_cuda.
bool may_write(const fc_engine& engine, const fc_planes& planes) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (!engine.on_cuda || engine.options.cuda == 2 || driver == nullptr) return false;
  auto* is_primary = reinterpret_cast<int (*)(const void*)>(dlsym(driver, "fake_cuda_is_primary"));
  dlclose(driver);
  return is_primary != nullptr && is_primary(planes.plane[0]) != 0;
}

fake::FedPixel first_pixel(const fc_planes& planes) {
  const auto at = [&](int plane, int byte) {
    return int{static_cast<const uint8_t*>(planes.plane[plane])[byte]};
  };
  if (planes.format == FC_FORMAT_NV12) return {at(0, 0), at(1, 0), at(1, 1)};
  if (planes.format == FC_FORMAT_I420) return {at(0, 0), at(1, 0), at(2, 0)};
  return {at(0, 0)};
}

constexpr double default_threshold = 0.1, default_guidance = 1;

// As flowcache.h has it: 0 is the default, FC_AUTO what `automatic` says, FC_NEVER a threshold of 0.
double in_force(double given, double usual, double automatic) {
  if (std::isnan(given)) return automatic;
  if (given == FC_NEVER) return 0;
  return given == 0 ? usual : given;
}

double easy_deadline(const fake::Options& o) {
  return 0.8 * o.frames * o.fps_d / o.fps_n;
}

void wait_at_gate(fc_stream* stream, uint64_t chunk) {
  fake::Gate& gate = fake::gate();
  std::unique_lock lock(gate.mutex);
  gate.changed.wait(lock, [&] { return chunk < gate.first || stream->cancelled; });
}

}  // namespace

extern "C" {

fc_status fc_stream_open(fc_engine* engine, const fc_stream_config* config, fc_stream** stream) {
  if (engine->options.fail_stream != 0)
    return fake::fail_on_demand(engine->options.fail_stream, "fc_stream_open");
  if (const fc_status status = check_prompt(config->prompt); status != FC_OK) return status;
  if (const fc_status status = check_prompt(config->negative_prompt); status != FC_OK) return status;
  if (config->kv_cache != nullptr &&
      !std::all_of(config->kv_cache, config->kv_cache + std::strlen(config->kv_cache), is_spec)) {
    return fake::fail(FC_ERROR_NOT_FOUND, "no such KV policy");
  }
  if (config->cache != nullptr && std::strcmp(config->cache, "none") != 0 &&
      std::strcmp(config->cache, "flowcache") != 0 && std::strcmp(config->cache, "auto") != 0) {
    return fake::fail(FC_ERROR_NOT_FOUND,
                      std::string("no reuse policy \"") + config->cache + "\": none, flowcache, auto");
  }
  auto* s = new fc_stream{engine};
  ++engine->references;
  ++fake::counters().live_streams;
  s->seed = config->seed;
  s->prompt = config->prompt == nullptr ? "" : config->prompt;
  s->unknown = unknown_words_of(s->prompt);
  if (config->prefix != nullptr) {  // painted as a part of the prompt: its size and its last pixel
    const size_t bytes = size_t{3} * config->prefix_width * config->prefix_height * config->prefix_frames;
    s->prompt += " + " + std::to_string(config->prefix_frames) + "x" + std::to_string(config->prefix_width) +
                 "x" + std::to_string(config->prefix_height) + ":" +
                 std::to_string(config->prefix[bytes - 3]);
  }
  s->no_clean_pass = config->clean_context == 1;
  if (config->clean_context != 0) s->prompt += " clean " + std::to_string(config->clean_context);
  s->stats.steps = config->steps != 0 ? config->steps : engine->options.steps;
  s->stats.kv_budget = config->kv_budget != 0 ? config->kv_budget : 1000000;
  s->stats.kv_allocated = s->stats.kv_budget;
  s->stats.cache_threshold = in_force(config->cache_threshold, default_threshold, default_threshold);
  s->stats.guidance_scale = in_force(config->guidance_scale, default_guidance, default_guidance);
  s->stats.chunks_in_flight = 1;
  s->guided = s->stats.guidance_scale != 1.0;
  s->negative = config->negative_prompt == nullptr ? "" : config->negative_prompt;
  s->width = config->width != 0 ? config->width : engine->options.width;
  s->height = config->height != 0 ? config->height : engine->options.height;
  s->governed = config->cache != nullptr ? std::strcmp(config->cache, "auto") == 0 : config->live != 0;
  if (s->governed) s->stats.deadline_seconds = easy_deadline(engine->options);
  if (s->governed) s->stats.least_chunk_seconds = engine->options.least_ms / 1e3;
  *stream = s;
  return FC_OK;
}

void fc_stream_close(fc_stream* stream) {
  if (stream == nullptr) return;
  fc_engine_unref(stream->engine);
  delete stream;
  --fake::counters().live_streams;
}

fc_status fc_stream_prompt(fc_stream* s, const fc_prompt_change* change, uint64_t* ticket) {
  if (const fc_status status = check_prompt(change->text); status != FC_OK) return status;
  if (change->blend_chunks == FC_PROMPT_RECACHE && s->no_clean_pass)
    return fake::fail(FC_ERROR_ARGUMENT, "a re-cache needs a clean pass; blend the prompt in");
  ++fake::counters().prompts_taken;
  std::lock_guard lock(s->mutex);
  const uint64_t at = change->at_chunk == FC_NEXT_CHUNK ? s->chunk : std::max(change->at_chunk, s->chunk);
  const std::string text = change->text == nullptr ? "" : change->text;
  s->changes[at] = {++s->last_ticket, text, change->blend_chunks == FC_PROMPT_RECACHE};
  s->unknown = unknown_words_of(text);
  if (ticket != nullptr) *ticket = s->last_ticket;
  return FC_OK;
}

const char* fc_stream_unknown_words(fc_stream* s) {
  return s->unknown.c_str();
}

fc_status fc_stream_tune(fc_stream* s, double threshold, double guidance) {
  std::lock_guard lock(s->mutex);
  guidance = in_force(guidance, default_guidance, s->stats.guidance_scale);
  if (guidance != 1.0 && s->stats.guidance_scale == 1.0) {
    return fake::fail(FC_ERROR_ARGUMENT, "guidance cannot be switched on in a stream opened without it");
  }
  s->stats.cache_threshold = in_force(threshold, default_threshold, s->stats.cache_threshold);
  s->stats.guidance_scale = guidance;
  return FC_OK;
}

fc_status fc_stream_negative_prompt(fc_stream* s, const char* text) {
  if (const fc_status status = check_prompt(text); status != FC_OK) return status;
  std::lock_guard lock(s->mutex);
  if (!s->guided) return fake::fail(FC_ERROR_ARGUMENT, "the stream was opened without guidance");
  s->negative = text == nullptr ? "" : text;
  return FC_OK;
}

// A list with "bad" in it is refused; one with "slow" is read until two more chunks are made, or until it is cancelled.
fc_status fc_stream_lora(fc_stream* s, const fc_lora_change* change, uint64_t* ticket) {
  const std::string list = change->loras == nullptr ? "" : change->loras;
  if (list.find("bad") != std::string::npos) return fake::fail(FC_ERROR_MODEL, list + " belongs to a DoRA");
  std::unique_lock lock(s->mutex);
  const uint64_t begun = s->stats.chunks;
  s->lora_cancelled = false;
  if (list.find("slow") != std::string::npos)
    s->changed.wait(lock, [&] { return s->lora_cancelled || s->stats.chunks >= begun + 2; });
  if (s->lora_cancelled) return fake::fail(FC_CANCELLED, "cancelled");
  const uint64_t at = change->at_chunk == FC_NEXT_CHUNK ? s->chunk : std::max(change->at_chunk, s->chunk);
  s->loras[at] = {++s->last_lora, list};
  if (ticket != nullptr) *ticket = s->last_lora;
  return FC_OK;
}

fc_status fc_stream_deadline(fc_stream* s, double seconds) {
  std::lock_guard lock(s->mutex);
  if (!s->governed) return fake::fail(FC_ERROR_ARGUMENT, "only cache auto has a deadline");
  const double easy = easy_deadline(s->engine->options);
  s->stats.deadline_seconds = seconds == 0 ? easy : seconds;
  s->stats.governor_level = s->stats.deadline_seconds < easy ? 1 : 0;
  return FC_OK;
}

void fc_stream_cancel(fc_stream* s) {
  {
    std::lock_guard lock(s->mutex);
    s->cancelled = s->lora_cancelled = true;
  }
  s->changed.notify_all();
  { std::lock_guard lock(fake::gate().mutex); }
  fake::gate().changed.notify_all();
}

fc_status fc_stream_feed_frames(fc_stream* s, uint32_t* frames) {
  if (s->engine->options.blind != 0)
    return fake::fail(FC_ERROR_MODEL, "model.json: there is no encoder, so this model takes no pictures");
  *frames = s->engine->options.frames;
  return FC_OK;
}

fc_status fc_stream_feed(fc_stream* s, const fc_feed* feed, uint64_t* chunk) {
  if (!(feed->strength >= 0 && feed->strength <= 1))
    return fake::fail(FC_ERROR_ARGUMENT, "strength is outside 0..1");
  if (feed->count != s->engine->options.frames) return fake::fail(FC_ERROR_ARGUMENT, "number of frames");
  std::lock_guard lock(s->mutex);
  if (s->fed.size() > 1) return fake::fail(FC_ERROR_ARGUMENT, "two chunks wait already");
  // All that is fed moves, and as fast as can be.
  fc_stream::Fed fed{feed->strength - 0.1 * feed->follow_motion, {}};
  for (uint32_t i = 0; i < feed->count; ++i) {
    if (feed->frames[i].memory == FC_MEMORY_CUDA) {
      if (!may_write(*s->engine, feed->frames[i]))
        return fake::fail(FC_ERROR_DEVICE, "CUDA memory of another context, or an engine on the CPU");
      ++fake::counters().fed_from_cuda;
    }
    fed.levels.push_back(first_pixel(feed->frames[i]));
  }
  s->fed.push_back(std::move(fed));
  fake::counters().restarts += static_cast<int>(feed->restart);
  if (chunk != nullptr) *chunk = s->chunk + s->fed.size() - 1;
  return FC_OK;
}

fc_status fc_stream_rehearse(fc_stream* s, double strength, double* seconds) {
  const fake::Options& o = s->engine->options;
  std::lock_guard lock(s->mutex);
  if (s->chunk > 0) return fake::fail(FC_ERROR_ARGUMENT, "the stream has begun");
  if (s->cancelled) return fake::fail(FC_CANCELLED, "cancelled");
  *seconds = strength * (o.expect_ms != 0 ? o.expect_ms : o.report_ms != 0 ? o.report_ms : o.chunk_ms) / 1e3;
  return FC_OK;
}

fc_status fc_stream_next(fc_stream* s, fc_chunk** chunk) {
  const fake::Options& o = s->engine->options;
  std::unique_lock lock(s->mutex);
  const uint64_t n = s->chunk;
  const uint32_t ms = n >= o.slow_from && n <= o.slow_to ? o.slow_ms : o.chunk_ms;
  s->changed.wait_for(lock, std::chrono::milliseconds(ms), [&] { return s->cancelled.load(); });
  lock.unlock();
  wait_at_gate(s, n);
  lock.lock();
  if (s->cancelled) {
    s->cancelled = false;
    return fake::fail(FC_CANCELLED, "cancelled");
  }
  if (n == o.throw_at) throw std::runtime_error("thrown by fc_stream_next");
  if (n == o.end_at) return fake::fail(FC_ENDED, "the history is full");
  if (n == o.fail_at) return fake::fail_on_demand(o.fail_status, "fc_stream_next");
  bool recache = false;
  while (!s->changes.empty() && s->changes.begin()->first <= n) {
    recache = s->changes.begin()->second.recache;
    s->ticket = s->changes.begin()->second.ticket;
    s->prompt = s->changes.begin()->second.text;
    s->changes.erase(s->changes.begin());
  }
  while (!s->loras.empty() && s->loras.begin()->first <= n) {
    std::tie(s->lora_ticket, s->lora) = s->loras.begin()->second;
    s->loras.erase(s->loras.begin());
  }
  auto* c = new fc_chunk{s->engine};
  ++s->engine->references;
  ++fake::counters().live_chunks;
  const uint32_t computed = (s->stats.steps + 1) / 2 - std::min(s->stats.governor_level, 1u);
  c->decisions.assign(s->stats.steps, 0);
  std::fill_n(c->decisions.begin(), computed, 1);
  c->hash = fake::prompt_hash(s->prompt + (s->guided && !s->negative.empty() ? " - " + s->negative : "") +
                              (s->lora.empty() ? "" : " with " + s->lora));
  ++s->stats.chunks;
  s->stats.devices = o.lose_at == fake::kNever ? 1 : n < o.lose_at ? 3 : n == o.lose_at ? 2 : 1;
  s->stats.steps_computed += computed;
  s->stats.steps_reused += s->stats.steps - computed;
  s->stats.kv_bytes = std::min(s->stats.kv_budget, s->stats.chunks * 1000);
  s->stats.last_chunk_seconds = (o.report_ms != 0 ? o.report_ms : ms) / 1e3;
  c->info = {sizeof c->info,
             n,
             s->seed,
             s->ticket,
             o.frames,
             s->width,
             s->height,
             computed,
             s->stats.steps - computed,
             s->stats.cache_threshold,
             s->stats.kv_bytes,
             s->stats.kv_budget,
             s->stats.last_chunk_seconds,
             c->decisions.data()};
  c->info.strength = 1;
  if (!s->fed.empty()) {
    c->info.strength = s->fed.front().strength;
    c->fed = std::move(s->fed.front().levels);
    s->fed.pop_front();
  }
  if (recache) {
    c->info.recached_chunks = 3;
    c->info.recache_seconds = 0.0125;
  }
  c->info.lora_ticket = s->lora_ticket;
  ++s->chunk;
  s->changed.notify_all();
  *chunk = c;
  return FC_OK;
}

fc_status fc_stream_reset(fc_stream* s, uint64_t seed) {
  std::lock_guard lock(s->mutex);
  s->seed = seed;
  s->chunk = 0;
  s->changes.clear();
  s->fed.clear();
  s->stats.chunks = s->stats.steps_computed = s->stats.steps_reused = s->stats.kv_bytes = 0;
  return FC_OK;
}

fc_status fc_stream_get_stats(fc_stream* s, fc_stream_stats* stats) {
  std::lock_guard lock(s->mutex);
  *stats = s->stats;
  stats->size = sizeof *stats;
  return FC_OK;
}

fc_status fc_chunk_describe(const fc_chunk* chunk, fc_chunk_info* info) {
  *info = chunk->info;
  return FC_OK;
}

fc_status fc_chunk_write(const fc_chunk* c, uint32_t frame, const fc_planes* planes) {
  if (c->engine->options.fail_write != 0)
    return fake::fail_on_demand(c->engine->options.fail_write, "fc_chunk_write");
  if (frame >= c->info.frames)
    return fake::fail(FC_ERROR_ARGUMENT, "frame " + std::to_string(frame) + " is not in the chunk");
  if (planes->memory == FC_MEMORY_CUDA && !may_write(*c->engine, *planes))
    return fake::fail(FC_ERROR_DEVICE, "CUDA memory of another context, or an engine on the CPU");
  if (c->engine->options.blank != 0) return FC_OK;
  const auto number = static_cast<uint32_t>(c->info.chunk * c->info.frames + frame);
  fake::paint({c->info.width, c->info.height, number, c->hash, c->info.seed, c->engine->options.twice != 0,
               frame < c->fed.size() ? c->fed[frame] : fake::FedPixel{}},
              *planes);
  return FC_OK;
}

fc_chunk* fc_chunk_ref(fc_chunk* chunk) {
  ++chunk->references;
  return chunk;
}
void fc_chunk_unref(fc_chunk* chunk) {
  if (chunk == nullptr || --chunk->references > 0) return;
  fc_engine_unref(chunk->engine);
  delete chunk;
  --fake::counters().live_chunks;
}

}  // extern "C"
