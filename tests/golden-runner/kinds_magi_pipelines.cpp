// SPDX-License-Identifier: LGPL-2.1-or-later
// magi-pipeline-uncached, magi-pipeline-flowcache (with and without KV compression).
#include "cache/kv/kv_score.h"
#include "cache/registry.h"
#include "case.h"
#include "magi_pipeline.h"
#include "schedule_views.h"
#include "stream_cases.h"

namespace golden {
namespace {

using namespace flowcache;
using nlohmann::json;

MagiRun read_run(Case& one, const json& call) {
  const json& runtime = one.config().at("runtime_config");
  const json& engine = one.config().at("engine_config");
  MagiRun run;
  run.steps = call.at("N");
  run.chunks = call.at("chunk_num");
  run.window = call.value("window_size", runtime.at("window_size").get<int>());
  run.prefix = call.value("prefix", 0);
  run.key_range = call.value("kvrange", std::vector<int>{});
  run.clean_key_range = call.value("clean_kvrange", 1);
  run.clean_time = static_cast<float>(runtime.at("clean_t").get<double>());
  run.shortcut = engine.at("shortcut_mode");
  const bool duplicate = engine.at("distill").get<bool>() && !call.value("discard_nearly_clean_chunk", false);
  if (duplicate) run.near_clean = engine.at("distill_nearly_clean_chunk_threshold").get<double>();
  return run;
}

MagiPipeline make_pipeline(Case& one, const json& call, const MagiTransformer& model, const MagiRun& run,
                           std::unique_ptr<KvPolicy> policy) {
  const json& in = call.at("in");
  const at::Tensor latents = one.tensor(in.at("latents")).narrow(1, 0, run.chunks * chunk_frames);
  const bool prefixed = in.contains("prefix") && !in.at("prefix").is_null();
  const at::Tensor prefix = prefixed ? one.tensor(in.at("prefix")) : at::Tensor();
  return MagiPipeline(model, run, read_captions(one, in, model), latents, prefix, std::move(policy));
}

void check_emitted(Case& one, const json& call, const MagiPipeline& pipeline) {
  const auto frames = pipeline.emitted();
  const json& want = call.at("emitted");
  bool same = want.size() == frames.size();
  for (size_t i = 0; same && i < frames.size(); ++i)
    same = want[i].at("chunk") == static_cast<int>(i) && want[i].at("latent_frames") == frames[i];
  one.check(same, "emitted frames");
}

void uncached(Case& one) {
  const auto model = load_magi(one);
  for (const json& call : one.calls()) {
    MagiRun run = read_run(one, call);
    run.clean_pass = true;
    MagiPipeline pipeline = make_pipeline(one, call, *model, run, nullptr);
    const json& out = call.at("out");
    at::Tensor head = at::empty_like(one.tensor(out.at("head")));
    at::Tensor times = at::full_like(one.tensor(out.at("t")), -1);
    one.check(pipeline.total_steps() == call.at("total_steps"), "number of steps");
    for (int g = 0; g < pipeline.total_steps(); ++g) {
      const MagiStep step = pipeline.step(g);
      const std::vector<int> row = {
          step.stage, step.inner,     step.forwarded.front().first, static_cast<int>(step.forwarded.size()),
          step.clean, step.near_clean};
      head[g].copy_(at::tensor(row, at::kInt));
      for (size_t i = 0; i < step.forwarded.size(); ++i)
        times[g][static_cast<int64_t>(i)] = step.forwarded[i].second;
    }
    one.compare(head, out.at("head"), one.tolerance("head"));
    one.compare(times, out.at("t"), one.tolerance("default"));
    one.compare(pipeline.latents(), out.at("latents"), one.tolerance("default"));
    check_emitted(one, call, pipeline);
    compare_magi_stream(one, call, run);
  }
}

// Passes calls on to a policy, and records what it keeps, with the score.
class RecordingPolicy final : public KvPolicy {
 public:
  struct Record {
    at::Tensor kept, score;  // [kept, kv_heads], [kv_heads, T]
  };
  RecordingPolicy(std::unique_ptr<KvPolicy> inner, double lambda, std::vector<Record>& records)
      : inner_(std::move(inner)), records_(records) {
    config_.lambda = lambda;
  }
  bool needs_queries() const override { return inner_->needs_queries(); }
  int64_t queries_wanted(int64_t per_frame, int64_t per_chunk) const override {
    return inner_->queries_wanted(per_frame, per_chunk);
  }
  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
    const at::Tensor kept = inner_->keep(layer, budget);
    const at::Tensor importance = kv_pool(kv_importance(layer.queries, layer.k), config_.pool);
    records_.push_back(
        {kept.transpose(0, 1).to(at::kInt), kv_score(importance, kv_redundancy(layer.k), config_,
                                                     layer.tokens_per_frame, layer.tokens_per_chunk)});
    return kept;
  }

 private:
  std::unique_ptr<KvPolicy> inner_;
  KvScoreConfig config_;
  std::vector<Record>& records_;
};

// The tables of a cached run, [step, chunk].
struct Tables {
  at::Tensor decision, distance, accumulator, near_clean, t, means;
  Tables(int64_t steps, int64_t chunks)
      : decision(at::full({steps, chunks}, -1, at::kInt)),
        distance(at::full({steps, chunks}, -1.0, at::kDouble)),
        accumulator(at::full({steps, chunks}, -1.0, at::kDouble)),
        near_clean(at::zeros({steps}, at::kInt)),
        t(at::full({steps, chunks}, -1.0F, at::kFloat)),
        means(at::zeros({steps, chunks, 2}, at::kFloat)) {}

  void add(int g, const MagiStep& step, const at::Tensor& latents) {
    near_clean[g] = step.near_clean ? 1 : 0;
    for (const auto& [c, time] : step.forwarded) t[g][c] = time;
    for (const auto& [c, made] : step.decisions) {
      decision[g][c] = made.action == Action::reuse ? 1 : 0;
      if (!made.forced) distance[g][c] = made.distance;
      // On the first and the last step the published code leaves the sum unchanged.
      accumulator[g][c] = step.undecided && g > 0 ? accumulator[g - 1][c].item<double>() : made.accumulated;
    }
    for (int64_t c = 0; c < means.size(1); ++c) {
      const at::Tensor chunk = latents.narrow(1, c * chunk_frames, chunk_frames);
      means[g][c][0] = chunk.mean();
      means[g][c][1] = chunk.abs().mean();
    }
  }

  // The decision of a chunk's last step.
  int last_decision(int64_t chunk) const {
    const at::Tensor column = decision.select(1, chunk);
    for (int64_t g = column.size(0) - 1; g >= 0; --g)
      if (const int one = column[g].item<int>(); one >= 0) return one;
    return -1;
  }

  void compare(Case& one, const json& out) const {
    one.compare(decision, out.at("decision"), {});
    one.compare(distance, out.at("distance"), one.tolerance("distance"));
    one.compare(accumulator, out.at("accumulator"), one.tolerance("accumulator"));
    one.compare(near_clean, out.at("near_clean_pass"), {});
    one.compare(t, out.at("t"), one.tolerance("default"));
    one.compare(means, out.at("chunk_mean_and_absmean"), one.tolerance("default"));
  }
};

void compare_stages(Case& one, const json& call, const MagiRun& run) {
  std::vector<int> rows[4];
  for (const Stage& stage :
       stage_table(run.chunks, run.window, run.prefix / static_cast<int>(chunk_frames))) {
    rows[0].push_back(stage.clip_start);
    rows[1].push_back(stage.clip_end);
    rows[2].push_back(stage.t_start);
    rows[3].push_back(stage.t_end);
  }
  std::vector<at::Tensor> all;
  for (const auto& row : rows) all.push_back(at::tensor(row, at::kInt));
  one.compare(at::stack(all), call.at("out").at("stages"), {});
}

std::string kv_spec(const json& method) {
  const std::string weighting = method.at("score_weighting_method");
  return "flowcache:order=score,lambda=" + std::to_string(method.at("mix_lambda").get<double>()) +
         ",unit=" + method.at("compress_strategy").get<std::string>() +
         ",queries=" + method.at("query_granularity").get<std::string>() + ",weighting=" +
         (weighting == "no_weight"                 ? "none"
          : weighting == "hard_code"               ? "parity_hard_code"
          : weighting == "upper_convex_polynomial" ? "upper_convex"
                                                   : weighting);
}

void compare_shrinkings(Case& one, const json& call, const std::vector<MagiShrinking>& events,
                        const std::vector<RecordingPolicy::Record>& records, size_t layers) {
  const json& wanted = call.at("compressions");
  one.check(events.size() == wanted.size(), "number of compressions");
  for (size_t e = 0; e < std::min(events.size(), wanted.size()); ++e) {
    const json& want = wanted[e];
    one.check(want.at("after_step") == events[e].after_step && want.at("clean_chunks") == events[e].clean,
              "step and chunks of compression " + std::to_string(e));
    one.check(want.at("queries_from").at("chunk") == events[e].query_chunk &&
                  want.at("queries_from").at("step") == events[e].query_step,
              "queries of compression " + std::to_string(e));
    for (size_t layer = 0; layer < layers; ++layer) {
      const auto& record = records[e * layers + layer];
      one.check(want.at("tokens_in") == record.score.size(1) && want.at("tokens_kept") == record.kept.size(0),
                "tokens of compression " + std::to_string(e));
      const json& out = want.at("out");
      one.compare(record.kept, numbered(out.at("indices"), static_cast<int>(layer)), {});
      if (out.contains("score"))
        one.compare(record.score, numbered(out.at("score"), static_cast<int>(layer)), one.tolerance("score"));
    }
  }
}

void cached(Case& one) {
  const auto model = load_magi(one);
  for (const json& call : one.calls()) {
    MagiRun run = read_run(one, call);
    run.threshold = call.at("rel_l1_thresh").get<double>();
    run.warmup = call.at("warmup_steps");
    std::vector<RecordingPolicy::Record> records;
    std::unique_ptr<KvPolicy> policy;
    if (call.at("compress_kv_cache").get<bool>()) {
      const json& method = call.at("method");
      run.history_chunks = call.at("total_cache_chunk_nums").get<int64_t>() - run.window;
      policy = std::make_unique<RecordingPolicy>(choose_kv(kv_spec(method)).make(), method.at("mix_lambda"),
                                                 records);
    }
    MagiPipeline pipeline = make_pipeline(one, call, *model, run, std::move(policy));
    one.check(pipeline.total_steps() == call.at("total_steps"), "number of steps");
    Tables tables(pipeline.total_steps(), run.chunks);
    for (int g = 0; g < pipeline.total_steps(); ++g) tables.add(g, pipeline.step(g), pipeline.latents());
    tables.compare(one, call.at("out"));
    one.check(tables.decision.eq(0).sum().item<int>() == call.at("computed") &&
                  tables.decision.eq(1).sum().item<int>() == call.at("reused"),
              "computed and reused steps");
    compare_stages(one, call, run);
    one.compare(pipeline.latents(), call.at("out").at("latents"), one.tolerance("default"));
    check_emitted(one, call, pipeline);
    // A stream always computes a chunk's last step, because its keys and values become history. The published
    // code may reuse it.
    bool same_rule = !call.contains("compressions");
    for (int c = run.prefix / static_cast<int>(chunk_frames); c < run.chunks; ++c)
      same_rule &= tables.last_decision(c) == 0;
    if (same_rule) compare_magi_stream(one, call, run);
    if (call.contains("compressions"))
      compare_shrinkings(one, call, pipeline.shrinkings(), records,
                         static_cast<size_t>(model->shape().layers));
  }
}

}  // namespace

void register_magi_pipelines(Handlers& handlers) {
  handlers["magi-pipeline-uncached"] = uncached;
  handlers["magi-pipeline-flowcache"] = cached;
  handlers["magi-pipeline-flowcache-kvcompress"] = cached;
}

}  // namespace golden
