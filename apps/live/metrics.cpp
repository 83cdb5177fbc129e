// SPDX-License-Identifier: LGPL-2.1-or-later
#include "metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <vector>

namespace flowcache::live {
namespace {

struct Figure {
  const char *field, *name, *help;
  bool counts;
};

// `field` is a path in what /api/stats says.
constexpr Figure figures[] = {
    {"/stream/fps", "flowcache_frames_per_second", "Frames a second at the source's pad", false},
    {"/stream/native_fps", "flowcache_native_frames_per_second", "The model's own rate", false},
    {"/stream/frames", "flowcache_frames_total", "Frames pushed", true},
    {"/stream/repeated", "flowcache_frames_repeated_total", "Frames pushed again since none was ready", true},
    {"/stream/skipped", "flowcache_frames_skipped_total", "Frames left out", true},
    {"/stream/underruns", "flowcache_underruns_total", "Times that no frame was ready", true},
    {"/stream/chunks", "flowcache_chunks_total", "Chunks generated", true},
    {"/stream/steps_computed", "flowcache_steps_computed_total", "Denoising steps that ran the network",
     true},
    {"/stream/steps_reused", "flowcache_steps_reused_total", "Denoising steps that reused earlier results",
     true},
    {"/stream/steps_allowed", "flowcache_steps_allowed",
     "Computed steps of the chunks that begin now; 0: not governed", false},
    {"/stream/cache_threshold", "flowcache_cache_threshold", "Threshold of the policy in use", false},
    {"/stream/kv_bytes", "flowcache_kv_bytes", "Keys and values held", false},
    {"/stream/kv_budget", "flowcache_kv_budget_bytes", "Most that may be held", false},
    {"/stream/ring_level", "flowcache_frames_waiting", "Finished frames that wait for their time", false},
    {"/deadline_ms", "flowcache_chunk_deadline_milliseconds",
     "How long a chunk plays, so how long it may take", false},
    {"/viewers/connected", "flowcache_live_viewers", "Viewers connected by WebRTC", false},
    {"/viewers/lost", "flowcache_live_viewer_frames_lost", "Frames that present viewers did not take in time",
     false},
    {"/connections/open", "flowcache_live_connections", "Connections to the server", false},
    {"/connections/refused", "flowcache_live_connections_refused_total", "Connections beyond the most", true},
    {"/prompts_waiting", "flowcache_live_prompts_waiting", "Prompts that have not shown yet", false},
    {"/ready", "flowcache_live_ready", "1 while frames flow", false},
};

constexpr Figure input_figures[] = {
    {"/input/flowing", "flowcache_live_input_flowing", "1 while the input gives frames", false},
    {"/input/age", "flowcache_live_input_age_seconds", "Seconds since the last frame of the input; 0: none",
     false},
    {"/input/frames", "flowcache_live_input_frames_total", "Frames that came in", true},
    {"/input/dropped", "flowcache_live_input_frames_dropped_total",
     "Of those, not shown: faster than the model", true},
    {"/input/repeated", "flowcache_live_input_frames_repeated_total",
     "Frames shown again since none had come", true},
    {"/input/strength_shown/strength", "flowcache_live_input_strength",
     "How much of the input is painted over; 1: it is ignored", false},
};

}  // namespace

struct Metrics::Families {
  prometheus::Registry registry;
  prometheus::Histogram* chunk_seconds = nullptr;
  std::vector<std::pair<const Figure*, prometheus::Gauge*>> gauges;
  struct Count {
    const Figure* figure;
    prometheus::Counter* counter;
    double seen = 0;
  };
  std::vector<Count> counters;
  prometheus::Family<prometheus::Gauge>* outputs = nullptr;
};

Metrics::Metrics(bool with_input) : families_(std::make_unique<Families>()) {
  auto& registry = families_->registry;
  families_->chunk_seconds =
      &prometheus::BuildHistogram()
           .Name("flowcache_chunk_seconds")
           .Help("Time to make a chunk, decoding included")
           .Register(registry)
           .Add({}, prometheus::Histogram::BucketBoundaries{0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4,
                                                            0.5, 0.75, 1, 2, 5});
  const auto add = [&](const Figure& figure) {
    if (figure.counts) {
      auto& family = prometheus::BuildCounter().Name(figure.name).Help(figure.help).Register(registry);
      families_->counters.push_back({&figure, &family.Add({})});
    } else {
      auto& family = prometheus::BuildGauge().Name(figure.name).Help(figure.help).Register(registry);
      families_->gauges.emplace_back(&figure, &family.Add({}));
    }
  };
  for (const Figure& figure : figures) add(figure);
  for (const Figure& figure : input_figures)
    if (with_input) add(figure);
  families_->outputs = &prometheus::BuildGauge()
                            .Name("flowcache_live_output_sending")
                            .Help("1 while this way out is connected")
                            .Register(registry);
}

Metrics::~Metrics() = default;

void Metrics::chunk_finished(double milliseconds) {
  families_->chunk_seconds->Observe(milliseconds / 1e3);
}

std::string Metrics::text(const Json& stats) {
  const auto value = [&](const Figure* figure) {
    const Json::json_pointer path(figure->field);
    if (!stats.contains(path)) return 0.0;
    const Json& found = stats.at(path);
    if (found.is_boolean()) return found.get<bool>() ? 1.0 : 0.0;
    return found.is_number() ? found.get<double>() : 0.0;
  };
  for (auto& [figure, gauge] : families_->gauges) gauge->Set(value(figure));
  for (auto& count : families_->counters) {
    const double now = value(count.figure);
    count.counter->Increment(now < count.seen ? now : now - count.seen);  // fewer: the source has restarted
    count.seen = now;
  }
  for (const Json& output : stats.value("outputs", Json::array())) {
    families_->outputs->Add({{"output", output.at("name").get<std::string>()}})
        .Set(output.at("state") == "sending" ? 1 : 0);
  }
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace flowcache::live
