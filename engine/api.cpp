// SPDX-License-Identifier: LGPL-2.1-or-later
// The C API of engines, streams and chunks.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <mutex>

#include "api_guard.h"
#include "base/output_place.h"
#include "cache/registry.h"
#include "color_convert.h"
#include "families/family.h"
#include "families/preflight.h"
#include "flowcache.h"
#include "package/model.h"
#include "parallel/parallel.h"
#include "stream/calibrate.h"
#include "stream/device.h"
#include "stream/stream.h"

using flowcache::Error;
using flowcache::guarded;

struct fc_engine {
  std::atomic<int> references{1};
  std::shared_ptr<const flowcache::LoadedModel> model;
  std::string device, precision;
};

struct fc_stream {
  std::unique_ptr<flowcache::Stream> stream;
  std::mutex mutex;  // guards unknown_words
  std::string unknown_words;
};

struct fc_chunk {
  std::atomic<int> references{1};
  std::shared_ptr<const flowcache::Chunk> chunk;
};

namespace {

template <class Handle>
Handle& checked(Handle* handle, const char* what) {
  if (!handle) throw Error(FC_ERROR_ARGUMENT, std::string(what) + " is NULL");
  return *handle;
}

// Destroys what a caller gave back. While the process ends nothing is destroyed, because LibTorch, which the
// handle uses, is being destroyed itself.
template <class Handle>
void destroy(Handle* handle) {
  if (const flowcache::Stay stay; stay) delete handle;
}

double not_negative(double value, const char* name) {
  if (value < 0)
    throw Error(FC_ERROR_ARGUMENT, std::string(name) + "=" + std::to_string(value) +
                                       " is negative; use 0 or FC_AUTO for the default");
  return value;
}

// Fields of fc_stream_config in the form of StreamConfig, in which a negative value means the default.
double threshold_of(double field) {
  if (field == FC_NEVER) return 0;
  return std::isnan(field) || field == 0 ? -1 : not_negative(field, "cache_threshold");
}
double guidance_of(double field) {
  return std::isnan(field) || field == 0 ? -1 : not_negative(field, "guidance_scale");
}

fc_model_info describe(const flowcache::ModelPackage& package) {
  fc_model_info info{};
  flowcache::copy_text(info.name, sizeof info.name, package.name);
  flowcache::copy_text(info.family, sizeof info.family, package.family);
  flowcache::copy_text(info.description, sizeof info.description, package.description);
  info.width = static_cast<uint32_t>(package.width);
  info.height = static_cast<uint32_t>(package.height);
  info.fps_n = static_cast<uint32_t>(package.fps_n);
  info.fps_d = static_cast<uint32_t>(package.fps_d);
  info.frames_per_chunk = static_cast<uint32_t>(package.frames_per_chunk);
  info.latent_frames_per_chunk = static_cast<uint32_t>(package.latent_frames_per_chunk);
  info.steps = package.sampler.contains("denoising_step_list")
                   ? static_cast<uint32_t>(package.sampler.at("denoising_step_list").size())
                   : package.sampler.value("steps", 24u);
  const uint32_t lag = package.sampler.value("lag", 0u);
  info.lag = lag == 0 ? info.steps : lag;
  info.guidance_scale = package.sampler.value("guidance_scale", 1.0);
  info.cache_threshold = package.cache.value("threshold", 0.0);
  flowcache::copy_text(info.cache, sizeof info.cache,
                       flowcache::policy_name(package.cache.value("reuse", "none")));
  flowcache::copy_text(info.kv_cache, sizeof info.kv_cache,
                       flowcache::policy_name(package.cache.value("kv", "window")));
  info.weight_bytes = package.weight_bytes();
  info.history_chunks = package.cache.value("history_chunks", 3u);
  info.kv_bytes_per_chunk = flowcache::kv_bytes_per_chunk(package, sizeof(float));
  const auto size = [](const flowcache::Pixels& pixels) {
    return fc_picture_size{static_cast<uint32_t>(pixels.width), static_cast<uint32_t>(pixels.height)};
  };
  info.least = size(package.sizes.least);
  info.most = size(package.sizes.most);
  info.step = size(package.sizes.step);
  std::transform(package.sizes.good.begin(), package.sizes.good.end(), info.good, size);
  return info;
}

std::string model_folder(const char* model) {
  if (model && *model) return model;
  if (const char* shipped = fc_default_model()) return shipped;
  throw Error(
      FC_ERROR_NOT_FOUND,
      "the model that ships was not found: pass a folder, or set FLOWCACHE_MODEL to one with a model.json");
}

// The prefix as [n, 3, H, W] fp32 in 0..1; undefined if there is none.
at::Tensor prefix_of(const fc_stream_config& c) {
  if (!c.prefix) return {};
  if (c.prefix_frames < 1 || c.prefix_frames > 4096 || c.prefix_width < 1 || c.prefix_width > 8192 ||
      c.prefix_height < 1 || c.prefix_height > 8192)
    throw Error(FC_ERROR_ARGUMENT, "a prefix of " + std::to_string(c.prefix_frames) + " frames of " +
                                       std::to_string(c.prefix_width) + "x" +
                                       std::to_string(c.prefix_height) +
                                       " is outside 1..4096 frames of 1..8192 pixels a side");
  return at::from_blob(const_cast<uint8_t*>(c.prefix), {c.prefix_frames, c.prefix_height, c.prefix_width, 3},
                       at::kByte)
      .permute({0, 3, 1, 2})
      .to(at::kFloat)
      .div_(255);
}

// The devices of an engine that works on several; of one, nothing or one.
flowcache::RankOptions rank_options(const fc_engine_config& c) {
  flowcache::RankOptions ranks;
  if (const std::string devices = flowcache::text(c.devices); !devices.empty())
    ranks.devices = flowcache::parse_devices(devices);
  ranks.attention = flowcache::text(c.attention_split);
  ranks.timeout_ms = c.rank_timeout;
  ranks.listen = flowcache::text(c.listen);
  ranks.on_lost_rank = flowcache::text(c.on_lost_rank);
  const std::string device = flowcache::text(c.device);
  if (ranks.devices.size() > 1 && !device.empty() && device != "auto" && device != ranks.devices.front())
    throw Error(FC_ERROR_ARGUMENT, "device=" + device + " and devices=" + flowcache::text(c.devices) +
                                       " contradict each other: leave device out");
  if (ranks.devices.size() < 2 && (!ranks.attention.empty() || ranks.timeout_ms != 0 ||
                                   !ranks.listen.empty() || !ranks.on_lost_rank.empty()))
    throw Error(FC_ERROR_ARGUMENT,
                "attention_split, rank_timeout, listen and on_lost_rank are for several devices: set "
                "devices, such as cpu,cpu");
  return ranks;
}

// The frames as [n, 3, H, W] fp32 in 0..1: where the planes are, if that is the model's device; else on the host.
at::Tensor frames_of(const fc_feed& feed, const flowcache::PictureSize& size, at::Device device) {
  const fc_planes& first = checked(feed.frames, "frames");
  const size_t apart = flowcache::read_struct(&first, "frames").size;
  if (feed.count < 1 || feed.count > 4096)
    throw Error(FC_ERROR_ARGUMENT, "count=" + std::to_string(feed.count) + " is outside 1..4096 frames");
  const bool there = device.is_cuda() && flowcache::in_cuda_memory(first);
  at::Tensor frames = at::empty({feed.count, 3, size.pixels.height, size.pixels.width},
                                at::TensorOptions(at::kFloat).device(there ? device : at::kCPU));
  for (uint32_t i = 0; i < feed.count; ++i) {
    const auto* const one = reinterpret_cast<const std::byte*>(&first) + i * apart;
    flowcache::color_read(flowcache::read_struct(reinterpret_cast<const fc_planes*>(one), "frames"),
                          frames[i]);
  }
  return frames;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

flowcache::StreamConfig stream_config(const fc_stream_config* config) {
  const fc_stream_config c = flowcache::read_struct(config, "config");
  flowcache::StreamConfig options;
  options.prompt = flowcache::text(c.prompt);
  options.negative_prompt = flowcache::text(c.negative_prompt);
  options.seed = c.seed;
  options.cache = flowcache::text(c.cache);
  if (c.live > 1) throw Error(FC_ERROR_ARGUMENT, "live=" + std::to_string(c.live) + " is outside 0..1");
  options.live = c.live == 1;
  options.width = c.width;
  options.height = c.height;
  options.kv_cache = flowcache::text(c.kv_cache);
  options.threshold = threshold_of(c.cache_threshold);
  options.kv_budget = c.kv_budget;
  if (c.steps > 1000)
    throw Error(FC_ERROR_ARGUMENT, "steps=" + std::to_string(c.steps) + " is outside 1..1000");
  if (c.lag > 1000) throw Error(FC_ERROR_ARGUMENT, "lag=" + std::to_string(c.lag) + " is outside 1..steps");
  options.steps = static_cast<int>(c.steps);
  options.lag = static_cast<int>(c.lag);
  if (c.clean_context > 2)
    throw Error(FC_ERROR_ARGUMENT, "clean_context=" + std::to_string(c.clean_context) + " is outside 0..2");
  options.clean_context = static_cast<int>(c.clean_context) - 1;
  if (c.graphs > 1) throw Error(FC_ERROR_ARGUMENT, "graphs=" + std::to_string(c.graphs) + " is outside 0..1");
  options.graphs = c.graphs == 1;
  options.guidance = guidance_of(c.guidance_scale);
  options.initial_frames = prefix_of(c);
  return options;
}

}  // namespace

extern "C" {

fc_status fc_model_describe(const char* model, fc_model_info* info) {
  return guarded(
      [&] { flowcache::write_struct(info, describe(flowcache::read_model(model_folder(model))), "info"); });
}

fc_status fc_engine_open(const fc_engine_config* config, fc_progress_function progress, void* user,
                         fc_engine** engine) {
  return guarded([&] {
    checked(engine, "engine") = nullptr;
    const fc_engine_config c = flowcache::read_struct(config, "config");
    flowcache::LoadOptions options{model_folder(c.model),
                                   flowcache::text(c.device),
                                   flowcache::text(c.precision),
                                   c.threads,
                                   c.memory_limit,
                                   c.slice_tokens,
                                   c.width,
                                   c.height,
                                   flowcache::text(c.kv_precision)};
    options.decoder_device = flowcache::text(c.decoder_device);
    const flowcache::RankOptions ranks = rank_options(c);
    if (ranks.devices.size() == 1) options.device = ranks.devices.front();
    auto made = std::make_unique<fc_engine>();
    const auto told = [&](const char* stage, double fraction) {
      return !progress || progress(user, stage, fraction) == 0;
    };
    made->model = ranks.devices.size() > 1 ? flowcache::load_on_ranks(options, ranks, told)
                                           : flowcache::LoadedModel::load(options, told);
    made->device = made->model->device.str();
    made->precision = flowcache::name_of({made->model->compute, made->model->weights});
    flowcache::log(FC_LOG_INFO,
                   "loaded " + made->model->package.name + " on " + made->device + " in " + made->precision);
    flowcache::warn_of_spinning_threads(made->model->device);
    *engine = made.release();
  });
}

void fc_engine_unref(fc_engine* engine) {
  if (engine && --engine->references == 0) destroy(engine);
}

fc_status fc_engine_describe(fc_engine* engine, fc_model_info* info) {
  return guarded(
      [&] { flowcache::write_struct(info, describe(checked(engine, "engine").model->package), "info"); });
}

const char* fc_engine_device(fc_engine* engine) {
  return engine ? engine->device.c_str() : "";
}
const char* fc_engine_precision(fc_engine* engine) {
  return engine ? engine->precision.c_str() : "";
}

fc_status fc_engine_calibrate(fc_engine* engine, const fc_stream_config* config, const char* const* prompts,
                              uint32_t count, uint32_t chunks, fc_progress_function progress, void* user,
                              const char* file) {
  return guarded([&] {
    std::vector<std::string> texts;
    for (uint32_t i = 0; i < count; ++i) texts.push_back(flowcache::text((&checked(prompts, "prompts"))[i]));
    const std::string path = flowcache::text(file);
    const auto cannot = [&](const std::string& why) {
      throw Error(FC_ERROR_NOT_FOUND, "cannot write \"" + path + "\": " + why + "; name another file");
    };
    if (const std::string problem = flowcache::output_problem(path); !problem.empty()) cannot(problem);
    const auto told = [&](double share) { return !progress || progress(user, "calibrate", share) == 0; };
    const auto result = flowcache::calibrate(checked(engine, "engine").model, stream_config(config), texts,
                                             static_cast<int>(std::min<uint32_t>(chunks, 100000)), told);
    std::ofstream out(path);
    if (!(out << result.json()) || !out.flush()) cannot(std::strerror(errno));
  });
}

fc_status fc_stream_open(fc_engine* engine, const fc_stream_config* config, fc_stream** stream) {
  return guarded([&] {
    checked(stream, "stream") = nullptr;
    const flowcache::StreamConfig options = stream_config(config);
    auto made = std::make_unique<fc_stream>();
    made->stream = std::make_unique<flowcache::Stream>(checked(engine, "engine").model, options);
    made->unknown_words = joined(made->stream->prompts().unknown_words());
    *stream = made.release();
  });
}

void fc_stream_close(fc_stream* stream) {
  destroy(stream);
}

fc_status fc_stream_prompt(fc_stream* stream, const fc_prompt_change* change, uint64_t* ticket) {
  return guarded([&] {
    fc_stream& s = checked(stream, "stream");
    const fc_prompt_change c = flowcache::read_struct(change, "change");
    const uint64_t given = s.stream->prompt(flowcache::text(c.text), c.at_chunk, c.blend_chunks);
    const std::lock_guard lock(s.mutex);
    s.unknown_words = joined(s.stream->prompts().unknown_words());
    if (ticket) *ticket = given;
  });
}

const char* fc_stream_unknown_words(fc_stream* stream) {
  if (!stream) return "";
  // A copy that belongs to this thread, because fc_stream_prompt() on another thread changes the stream's
  // words.
  thread_local std::string words;
  try {
    const std::lock_guard lock(stream->mutex);
    words = stream->unknown_words;
  } catch (const std::bad_alloc&) {
    return "";
  }
  return words.c_str();
}

fc_status fc_stream_tune(fc_stream* stream, double cache_threshold, double guidance_scale) {
  return guarded([&] {
    flowcache::Stream& s = *checked(stream, "stream").stream;
    const double threshold = threshold_of(cache_threshold), guidance = guidance_of(guidance_scale);
    s.tune(cache_threshold == 0 ? s.default_threshold() : threshold,
           guidance_scale == 0 ? s.default_guidance() : guidance);
  });
}

fc_status fc_stream_lora(fc_stream* stream, const fc_lora_change* change, uint64_t* ticket) {
  return guarded([&] {
    fc_stream& s = checked(stream, "stream");
    const fc_lora_change c = flowcache::read_struct(change, "change");
    const uint64_t given = s.stream->lora(flowcache::text(c.loras), c.at_chunk);
    if (ticket) *ticket = given;
  });
}

fc_status fc_stream_deadline(fc_stream* stream, double seconds) {
  return guarded([&] { checked(stream, "stream").stream->deadline(seconds); });
}

fc_status fc_stream_negative_prompt(fc_stream* stream, const char* text) {
  return guarded([&] { checked(stream, "stream").stream->negative_prompt(flowcache::text(text)); });
}

fc_status fc_stream_feed(fc_stream* stream, const fc_feed* feed, uint64_t* chunk) {
  return guarded([&] {
    flowcache::Stream& s = *checked(stream, "stream").stream;
    const fc_feed c = flowcache::read_struct(feed, "feed");
    if (c.restart > 1)
      throw Error(FC_ERROR_ARGUMENT, "restart=" + std::to_string(c.restart) + " is outside 0..1");
    if (c.follow_motion > 1)
      throw Error(FC_ERROR_ARGUMENT, "follow_motion=" + std::to_string(c.follow_motion) + " is outside 0..1");
    flowcache::check_strength(c.strength);
    const flowcache::OnLane lane(s.feed().lane());
    const int64_t given = s.feed().give(frames_of(c, s.size(), s.model().device), c.strength, c.restart == 1,
                                        c.follow_motion == 1);
    if (chunk) *chunk = static_cast<uint64_t>(given);
  });
}

fc_status fc_stream_feed_frames(fc_stream* stream, uint32_t* frames) {
  return guarded([&] {
    checked(frames, "frames") =
        static_cast<uint32_t>(checked(stream, "stream").stream->feed().frames_wanted());
  });
}

fc_status fc_stream_rehearse(fc_stream* stream, double strength, double* seconds) {
  return guarded([&] { checked(seconds, "seconds") = checked(stream, "stream").stream->rehearse(strength); });
}

fc_status fc_stream_next(fc_stream* stream, fc_chunk** chunk) {
  return guarded([&] {
    checked(chunk, "chunk") = nullptr;
    auto made = std::make_unique<fc_chunk>();
    made->chunk = checked(stream, "stream").stream->next();
    *chunk = made.release();
  });
}

void fc_stream_cancel(fc_stream* stream) {
  if (stream) stream->stream->cancel();
}

fc_status fc_stream_reset(fc_stream* stream, uint64_t seed) {
  return guarded([&] { checked(stream, "stream").stream->reset(seed); });
}

fc_status fc_stream_get_stats(fc_stream* stream, fc_stream_stats* stats) {
  return guarded([&] {
    const flowcache::StreamStats s = checked(stream, "stream").stream->stats();
    flowcache::write_struct(stats,
                            {sizeof(fc_stream_stats),
                             s.chunks,
                             s.steps_computed,
                             s.steps_reused,
                             s.forced_computes,
                             s.kv_bytes,
                             s.kv_budget,
                             s.kv_allocated,
                             s.reuse_bytes,
                             s.last_chunk_seconds,
                             s.last_decode_seconds,
                             s.threshold,
                             s.guidance,
                             static_cast<uint32_t>(s.steps),
                             static_cast<uint32_t>(s.lag),
                             static_cast<uint32_t>(s.chunks_in_flight),
                             static_cast<uint32_t>(s.governor_level),
                             s.deadline_seconds,
                             static_cast<uint32_t>(s.steps_allowed),
                             s.least_seconds,
                             static_cast<uint32_t>(s.step_layers_reached),
                             static_cast<uint32_t>(s.step_layers),
                             static_cast<uint32_t>(s.devices)},
                            "stats");
  });
}

fc_status fc_chunk_describe(const fc_chunk* chunk, fc_chunk_info* info) {
  return guarded([&] {
    const flowcache::Chunk& c = *checked(chunk, "chunk").chunk;
    uint32_t computed = 0;
    for (const uint8_t one : c.decisions) computed += one;
    flowcache::write_struct(info,
                            {sizeof(fc_chunk_info),
                             static_cast<uint64_t>(c.index),
                             c.seed,
                             c.prompt_ticket,
                             static_cast<uint32_t>(c.frames.size(0)),
                             static_cast<uint32_t>(c.frames.size(3)),
                             static_cast<uint32_t>(c.frames.size(2)),
                             computed,
                             static_cast<uint32_t>(c.decisions.size()) - computed,
                             c.threshold,
                             c.kv_bytes,
                             c.kv_budget,
                             c.seconds,
                             c.decisions.data(),
                             c.flops,
                             static_cast<uint32_t>(c.governor_level),
                             static_cast<uint32_t>(c.recached_chunks),
                             c.recache_seconds,
                             c.lora_ticket,
                             c.lora_seconds,
                             c.strength},
                            "info");
  });
}

fc_status fc_chunk_write(const fc_chunk* chunk, uint32_t frame, const fc_planes* planes) {
  return guarded([&] {
    const flowcache::Chunk& c = *checked(chunk, "chunk").chunk;
    const fc_planes p = flowcache::read_struct(planes, "planes");
    if (frame >= c.frames.size(0))
      throw Error(FC_ERROR_ARGUMENT, "frame " + std::to_string(frame) + " does not exist: the chunk has " +
                                         std::to_string(c.frames.size(0)));
    flowcache::ensure_threads();
    const bool on_host = !flowcache::in_cuda_memory(p) || !c.frames.is_cuda();
    if (!on_host) c.decoded.wait();
    flowcache::color_convert(on_host ? c.host.of(c.frames, c.decoded)[frame] : c.frames[frame], p);
  });
}

fc_chunk* fc_chunk_ref(fc_chunk* chunk) {
  if (chunk) ++chunk->references;
  return chunk;
}

void fc_chunk_unref(fc_chunk* chunk) {
  if (chunk && --chunk->references == 0) destroy(chunk);
}

}  // extern "C"
