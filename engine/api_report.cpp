// SPDX-License-Identifier: LGPL-2.1-or-later
#include "api_report.h"

#include <algorithm>

#include "api_guard.h"
#include "cache/kv/kv_store.h"
#include "cache/registry.h"
#include "families/factory.h"
#include "families/family.h"
#include "families/preflight.h"
#include "package/files.h"
#include "parallel/plan.h"
#include "stream/device.h"
#include "stream/fit.h"

namespace flowcache {
namespace {

using nlohmann::json;

ModelPackage read(const char* model) {
  const std::string given = text(model);
  if (!given.empty()) return read_model(given);
  const char* shipped = fc_default_model();
  if (!shipped) throw Error(FC_ERROR_NOT_FOUND, "the model that ships was not found: pass a folder");
  return read_model(shipped);
}

json files(const ModelPackage& package) {
  json all = json::array();
  for (const PackageFile& file : package_files(package))
    all.push_back({{"section", file.section},
                   {"name", file.name},
                   {"source", file.source},
                   {"present", file.present},
                   {"bytes", file.bytes}});
  return all;
}

json words(const ModelPackage& package) {
  const json vocabulary = package.text.value("vocabulary", json::array());
  json known = json::array();
  for (size_t i = 1; i < vocabulary.size(); ++i) known.push_back(vocabulary[i]);  // the first is the padding
  return known;
}

// What a model would run on and in.
struct Place {
  Place(const char* device, const char* precision, const char* kv_precision)
      : device(text(device) == "gpu" || choose_device(text(device)).is_cuda() ? at::Device(at::kCUDA, 0)
                                                                              : at::Device(at::kCPU)),
        precision(choose_precision(text(precision), this->device)),
        kv_precision(choose_kv_precision(text(kv_precision))) {}
  at::Device device;
  Precision precision;
  KvPrecision kv_precision;
};

// The memory that a process needs for the model, which keeps this part of all keys and values. If a file is missing, its
// size is computed from the configs.
json memory(const ModelPackage& package, const Place& place, double kv_share = 1, bool network_only = false) {
  MemoryPlan plan = plan_of(package, place.precision, place.kv_precision, place.device);
  plan.kv_share = kv_share;
  plan.network_only = network_only;
  const auto present = [&](const PackageFile& file) { return file.present; };
  const auto all = package_files(package);
  if (package.random_weights || !std::all_of(all.begin(), all.end(), present)) {
    const WeightSizes sizes = weight_sizes(package);
    plan.transformer_bytes = sizes.transformer;
    plan.text_bytes = sizes.text;
    plan.decoder_bytes = sizes.decoder;
  }
  json needs = json::array();
  for (const MemoryNeed& need : memory_needs(package, plan))
    needs.push_back({{"what", need.what}, {"bytes", need.bytes}, {"on_host", need.on_host}});
  return needs;
}

json ranks(const ModelPackage& package, const Place& place, int count, const std::string& attention) {
  const TransformerShape shape = shape_of(package);
  const AttentionSplit split = choose_attention_split(attention, shape, count);
  const int64_t tokens = kv_shape(package).tokens_per_chunk;
  const MemoryPlan plan = plan_of(package, place.precision, place.kv_precision, place.device);
  const auto steps = package.sampler.contains("denoising_step_list")
                         ? package.sampler["denoising_step_list"].size()
                         : package.sampler.value("steps", size_t{24});
  const auto number = static_cast<int64_t>(c10::elementSize(place.precision.compute));
  const bool queries = choose_kv(resolve_kv(package.cache.value("kv", "window"))).make()->needs_queries();
  const bool apart = by_branch(attention, count, static_cast<int>(plan.branches));
  json report = {{"attention", apart ? "guidance branches" : name_of(split)},
                 {"tokens", tokens},
                 {"last_decodes", last_decodes(attention, shape, count)},
                 {"forward_passes", (apart ? 1 : plan.branches) * (steps + package.clean_context)},
                 {"ranks", json::array()}};
  Traffic most;
  for (int rank = 0; rank < count; ++rank) {
    const HeadShare heads = head_share(shape, apart ? AttentionSplit::rows : split, count, rank);
    const auto whole =
        static_cast<uint64_t>(tokens * shape.dim * sizeof(float));  // to the other one and back
    const Traffic traffic = apart ? Traffic{.exchanges = 2, .given = whole, .taken = whole}
                                  : traffic_of_blocks(shape, split, count, rank, tokens, number,
                                                      sizeof(float), shape.head_sets, queries);
    report["ranks"].push_back(
        {{"rows", apart ? tokens : share_of(tokens, count, rank).count},
         {"heads", heads.heads.count},
         {"kv_heads", heads.kv_heads.count},
         {"memory", memory(package, place, apart ? 0.5 : kv_share_of(shape, split, count, rank), rank > 0)},
         {"exchanges", traffic.exchanges},
         {"given", traffic.given},
         {"taken", traffic.taken}});
    if (traffic.given > most.given) most = traffic;
  }
  const auto in_flight = static_cast<uint64_t>(plan.chunks_in_flight);
  report["chunks_in_flight"] = in_flight;
  if (apart || in_flight < static_cast<uint64_t>(count)) return report;
  const Traffic whole =
      traffic_of_chunks(shape, count, 0, tokens, number, sizeof(float), plan.branches * shape.head_sets);
  const uint64_t runs = in_flight * plan.branches;
  report["tick"] = {{"exchanges", runs * most.exchanges}, {"given", runs * most.given}};
  report["chunks"] = {{"exchanges", whole.exchanges * in_flight / count},
                      {"given", whole.given * in_flight / count}};
  return report;
}

// Where the model's KV policy lets kept frames stand in time.
std::string positions(const ModelPackage& package) {
  const auto policy = choose_kv(resolve_kv(package.cache.value("kv", "window"))).make();
  const KvShape shape = kv_shape(package);
  const auto in_flight = static_cast<int64_t>(default_plan(package, 4, 4, true).chunks_in_flight);
  const int64_t trained = package.cache.value("trained_frames", int64_t{0});
  const std::optional<int64_t> reach = kv_reach({.tokens_per_frame = shape.tokens_per_frame,
                                                 .tokens_per_chunk = shape.tokens_per_chunk,
                                                 .window_chunks = in_flight,
                                                 .time_frequencies = shape.time_frequencies,
                                                 .trained_frames = trained},
                                                *policy);
  if (reach && policy->positions() == Positions::relative) return "relative: without gaps";
  if (reach)
    return "absolute for " + std::to_string(trained) +
           " latent frames, the length it was trained on; then no kept frame is further away";
  if (policy->positions() == Positions::absolute) return "absolute";
  if (policy->movable(1, INT64_MAX) == 0) return "absolute; what is kept has no gaps";
  return shape.time_frequencies.empty()
             ? "absolute; this model family's keys cannot be moved in time"
             : "absolute, as model.json does not say how long it was trained on (cache.trained_frames)";
}

}  // namespace
}  // namespace flowcache

extern "C" fc_status fc_ranks_report(const char* model, const char* device, const char* precision,
                                     const char* kv_precision, uint32_t count, const char* attention,
                                     const char** json) {
  return flowcache::guarded([&] {
    if (!json) throw flowcache::Error(FC_ERROR_ARGUMENT, "json is NULL");
    if (count < 2 || count > 64)
      throw flowcache::Error(FC_ERROR_ARGUMENT, "devices=" + std::to_string(count) + " is outside 2..64");
    thread_local std::string text;
    text = flowcache::ranks(flowcache::read(model), {device, precision, kv_precision},
                            static_cast<int>(count), flowcache::text(attention))
               .dump();
    *json = text.c_str();
  });
}

extern "C" fc_status fc_model_report(const char* model, const char* device, const char* precision,
                                     const char* kv_precision, const char** json) {
  return flowcache::guarded([&] {
    if (!json) throw flowcache::Error(FC_ERROR_ARGUMENT, "json is NULL");
    const flowcache::ModelPackage package = flowcache::read(model);
    nlohmann::json report = {{"folder", package.folder.string()}, {"license", package.license}};
    report["positions"] = flowcache::positions(package);
    report["files"] = flowcache::files(package);
    report["words"] = flowcache::words(package);
    report["memory"] = flowcache::memory(package, {device, precision, kv_precision});
    thread_local std::string text;
    text = report.dump();
    *json = text.c_str();
  });
}

extern "C" fc_status fc_model_fit(const char* model, uint64_t gpu_bytes, const char** json) {
  return flowcache::guarded([&] {
    if (!json) throw flowcache::Error(FC_ERROR_ARGUMENT, "json is NULL");
    const flowcache::ModelPackage package = flowcache::read(model);
    const flowcache::Fit fit = flowcache::fit_to_gpu(package, gpu_bytes);
    const nlohmann::json report = {{"name", package.name},
                                   {"fits", fit.fits},
                                   {"precision", fit.fp8 ? "fp8" : "bf16"},
                                   {"history_chunks", fit.history},
                                   {"of", package.cache.value("history_chunks", int64_t{1})},
                                   {"one_at_a_time", fit.one_at_a_time},
                                   {"width", fit.size.width},
                                   {"height", fit.size.height},
                                   {"native", fit.size == flowcache::Pixels{package.width, package.height}},
                                   {"device_bytes", fit.device_bytes},
                                   {"host_bytes", fit.host_bytes}};
    thread_local std::string text;
    text = report.dump();
    *json = text.c_str();
  });
}
