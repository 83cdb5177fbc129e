// SPDX-License-Identifier: LGPL-2.1-or-later
// reuse-trace: the decisions of FlowCache's two reference codes, step by step. kv-score: the keys that they
// keep.
#include "cache/kv/kv_score.h"
#include "cache/reuse/flowcache.h"
#include "case.h"

namespace golden {
namespace {

using namespace flowcache;
using nlohmann::json;

// The tables that a trace fills, [call, chunk]. They start with the values for "nothing was decided".
struct Trace {
  at::Tensor decision, distance, accumulator, change;
  Trace(int64_t calls, int64_t chunks, double no_distance)
      : decision(at::full({calls, chunks}, -1, at::kInt)),
        distance(at::full({calls, chunks}, no_distance, at::kDouble)),
        accumulator(at::full({calls, chunks}, -1.0, at::kDouble)),
        change(at::full({calls, chunks}, -1.0, at::kDouble)) {}
  void put(int64_t call, int64_t chunk, const Decision& decided) {
    decision[call][chunk] = decided.action == Action::reuse ? 1 : 0;
    accumulator[call][chunk] = decided.accumulated;
    if (!decided.forced) distance[call][chunk] = decided.distance;
  }
};

void compare_trace(Case& one, const json& call, const Trace& trace, Tolerance tolerance) {
  const json& out = call.at("out");
  one.compare(trace.decision, out.at("decision"), {});
  one.compare(trace.distance, out.at("distance"), tolerance);
  one.compare(trace.accumulator, out.at("accumulator"), tolerance);
  if (out.contains("relative_change")) one.compare(trace.change, out.at("relative_change"), tolerance);
}

// Chunks begin one stage of `per_stage` steps after each other and take num_steps steps. The last step of the
// last chunk ends the video.
void magi_trace(Case& one, const json& call) {
  const int steps = call.at("num_steps"), window = call.at("window_size");
  const int chunks = call.at("chunk_num"), offset = call.at("chunk_offset");
  const int per_stage = steps / window, total = call.at("total_steps");
  const at::Tensor& features = one.tensor(call.at("in").at("features"));
  const bool bf16 = call.at("feature_dtype") == "bf16";

  FlowCacheReuse policy({.warmup = call.at("warmup_steps"),
                         .metric = bf16 ? Metric::bf16 : Metric::fp32,
                         .protect_last = false,
                         .unsafe = UnsafeDistance::parity});
  Trace trace(total, chunks, -1);
  for (int g = 0; g < total; ++g) {
    const bool undecided =
        g == 0 || g == total - 1;  // the reference always computes the first and the last step
    std::vector<ChunkStep> tick;
    for (int c = offset; c < chunks; ++c) {
      const int step = g - (c - offset) * per_stage;
      if (step < 0 || step >= steps) continue;
      tick.push_back({.info = {.chunk = c, .step = step, .steps = steps, .must_compute = undecided},
                      .features = {.tokens = features[g][c]}});
    }
    const std::vector<Decision> decisions = policy.decide(tick, call.at("rel_l1_thresh"));
    for (size_t i = 0; i < tick.size(); ++i) {
      const int64_t c = tick[i].info.chunk;
      trace.put(g, c, decisions[i]);
      // In this case the reference leaves the accumulator as it was, which has no effect any more.
      if (g > 0 && undecided) trace.accumulator[g][c] = trace.accumulator[g - 1][c];
      if (tick[i].info.step == steps - 1) policy.end_chunk(c);
    }
  }
  compare_trace(one, call, trace, one.tolerance(bf16 ? "bf16_features" : "distance"));
}

// One policy for each guidance branch. Rows are conditional and unconditional calls in turn.
void skyreels_trace(Case& one, const json& call) {
  const int64_t blocks = call.at("blocks"), calls = call.at("calls");
  const at::Tensor& features = one.tensor(call.at("in").at("features"));
  const at::Tensor& update = one.tensor(call.at("in").at("update_mask"));
  const FlowCacheConfig config{.warmup = call.at("ret_steps"),
                               .feature = Tap::modulation,
                               .residual = ReuseKind::token_residual,
                               .polynomial = call.at("coefficients_highest_power_first"),
                               .unsafe = UnsafeDistance::parity};
  FlowCacheReuse branches[] = {FlowCacheReuse(config), FlowCacheReuse(config)};
  std::vector<std::vector<int>> done(2, std::vector<int>(blocks, 0));
  std::vector<std::vector<at::Tensor>> before(2, std::vector<at::Tensor>(blocks));

  Trace trace(calls, blocks, 0);
  for (int64_t k = 0; k < calls; ++k) {
    const int branch = static_cast<int>(k % 2);
    for (int64_t b = 0; b < blocks; ++b) {
      const bool prefix = call.at("prefix_block_ready").get<bool>() && b == 0;
      if (update[k / 2][b].item<int>() == 0) {
        if (prefix && k < 2) trace.decision[k][b] = 2;
        continue;
      }
      const ChunkStep step{
          .info = {.chunk = b, .step = done[branch][b]++, .steps = call.at("cutoff_steps").get<int>() + 1},
          .features = {.modulation = features[k][b]}};
      const Decision decided = branches[branch].decide({&step, 1}, call.at("teacache_thresh"))[0];
      trace.put(k, b, decided);
      if (!decided.forced) trace.change[k][b] = relative_change(features[k][b], before[branch][b]);
      before[branch][b] = features[k][b];
    }
  }
  compare_trace(one, call, trace, one.tolerance("distance"));
}

void reuse_trace(Case& one) {
  for (const json& call : one.calls()) {
    if (call.at("op") == "magi_trace")
      magi_trace(one, call);
    else if (call.at("op") == "skyreels_trace")
      skyreels_trace(one, call);
    else
      throw std::runtime_error("unknown op " + call.at("op").get<std::string>());
  }
}

KvWeighting weighting(const std::string& name) {
  static const std::map<std::string, KvWeighting> names = {
      {"no_weight", KvWeighting::none},          {"hard_code", KvWeighting::hard_code},
      {"exponential", KvWeighting::exponential}, {"polynomial", KvWeighting::polynomial},
      {"gaussian", KvWeighting::gaussian},       {"upper_convex_polynomial", KvWeighting::upper_convex}};
  const auto found = names.find(name);
  return found == names.end() ? KvWeighting::none : found->second;
}

struct CompressCall {
  KvScoreConfig score;
  int64_t queries = 0, tokens_per_frame = 0, tokens_per_chunk = 0, group = 1;
};

CompressCall read_call(const json& call, int64_t queries) {
  const bool magi = call.at("fork") == "FlowCache4MAGI-1";
  const std::string strategy = call.at("compress_strategy"), granularity = call.at("query_granularity");
  CompressCall read;
  read.queries = queries;
  read.score.lambda = call.at("lambda");
  read.score.pool = call.at("pool_kernel");
  read.score.subtract_minimum = magi;
  read.score.unit = strategy == "frame" ? KvUnit::frame : strategy == "chunk" ? KvUnit::chunk : KvUnit::token;
  if (magi) {
    const auto thw = call.at("latent_t_h_w").get<std::vector<int64_t>>();
    read.tokens_per_frame = thw[1] * thw[2];
    read.tokens_per_chunk = thw[0] * read.tokens_per_frame;
    read.score.weighting = weighting(call.at("score_weighting_method"));
    read.score.power = call.at("power");
    const KvQueries kind = granularity == "token"   ? KvQueries::token
                           : granularity == "frame" ? KvQueries::frame
                                                    : KvQueries::chunk;
    read.queries = query_count(kind, read.tokens_per_frame, queries);
  } else if (call.at("frame_tokens").is_number()) {
    read.tokens_per_frame = read.tokens_per_chunk = call.at("frame_tokens");
  }
  if (read.score.unit == KvUnit::frame) read.group = read.tokens_per_frame;
  if (read.score.unit == KvUnit::chunk) read.group = read.tokens_per_chunk;
  return read;
}

// Compares kept slots with the reference's [kept, kv_heads]. They must be equal; if scores tie at the cut,
// the scores must be.
void compare_indices(Case& one, const json& call, const at::Tensor& best, const at::Tensor& score) {
  const std::string name = call.at("out").at("indices");
  const at::Tensor wanted = one.tensor(name).t().to(at::kLong);
  if (!call.at("ties_at_the_cut").get<bool>() && !call.at("ties_between_kept").get<bool>())
    return one.compare(best.t(), name, {});
  one.check(best.sizes() == wanted.sizes(), name + ": wrong shape");
  const at::Tensor got = std::get<0>(score.gather(1, best).sort(-1));
  const at::Tensor want = std::get<0>(score.gather(1, wanted).sort(-1));
  one.check((got - want).abs().max().item<double>() <= 1e-7, name + ": the kept scores differ");
}

// Rows `best` of `from` [tokens, kv_heads, d] for each head, followed by the tokens that could not be
// dropped.
at::Tensor kept_rows(const at::Tensor& from, const at::Tensor& best, int64_t clean) {
  const at::Tensor index = best.t().unsqueeze(-1).expand({best.size(1), best.size(0), from.size(2)});
  return at::cat({from.gather(0, index), from.narrow(0, clean, from.size(0) - clean)});
}

void compress(Case& one, const json& call) {
  const json &in = call.at("in"), &out = call.at("out");
  const at::Tensor &q = one.tensor(in.at("q")), &k = one.tensor(in.at("k")), &v = one.tensor(in.at("v"));
  const CompressCall c = read_call(call, q.size(0));
  const int64_t clean = call.at("clean_tokens"), budget = call.at("budget");
  const Tolerance tolerance = one.tolerance("default");

  const at::Tensor keys = k.narrow(0, 0, clean).transpose(0, 1);
  const at::Tensor queries = q.narrow(0, q.size(0) - c.queries, c.queries).transpose(0, 1);
  const at::Tensor raw = kv_importance(queries, keys), importance = kv_pool(raw, c.score.pool);
  const at::Tensor redundancy = kv_redundancy(keys);
  const at::Tensor score = kv_score(importance, redundancy, c.score, c.tokens_per_frame, c.tokens_per_chunk);
  const at::Tensor best = kv_best(score, budget, c.group);

  one.compare(raw, out.at("importance_raw"), tolerance);
  one.compare(importance, out.at("importance"), tolerance);
  one.compare(redundancy, out.at("redundancy"), tolerance);
  one.compare(score, out.at("score"), tolerance);
  compare_indices(one, call, best, score);
  if (out.contains("k")) one.compare(kept_rows(k, best, clean), out.at("k"), {});
  if (out.contains("v")) one.compare(kept_rows(v, best, clean), out.at("v"), {});
}

void kv_score_case(Case& one) {
  for (const json& call : one.calls()) {
    if (call.at("op") != "compress")
      throw std::runtime_error("unknown op " + call.at("op").get<std::string>());
    compress(one, call);
  }
}

}  // namespace

void register_cache(Handlers& handlers) {
  handlers["reuse-trace"] = reuse_trace;
  handlers["kv-score"] = kv_score_case;
}

}  // namespace golden
