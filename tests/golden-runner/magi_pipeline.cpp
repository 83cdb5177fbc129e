// SPDX-License-Identifier: LGPL-2.1-or-later
#include "magi_pipeline.h"

#include "cache/registry.h"
#include "samplers/magi_timesteps.h"
#include "stream/schedule.h"

namespace golden {

using namespace flowcache;

namespace {

// In the published code a chunk attends only the last few chunks, itself included.
class LastChunks final : public KvView {
 public:
  LastChunks(KvView& all, int64_t tokens) : all_(all), tokens_(tokens) {}
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    const KeyValue kv = all_.append(layer, q, own);
    const int64_t have = kv.k.size(1), count = std::min(have, tokens_);
    return {kv.k.narrow(1, have - count, count), kv.v.narrow(1, have - count, count)};
  }

 private:
  KvView& all_;
  int64_t tokens_;
};

constexpr int unlimited = 1 << 20;

KvGeometry geometry_of(const MagiTransformer& model, const MagiRun& run, const at::Tensor& latents) {
  const TransformerShape& shape = model.shape();
  const int64_t per_frame = shape.tokens_per_frame(latents.size(2), latents.size(3));
  return {.layers = shape.layers,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .tokens_per_frame = per_frame,
          .tokens_per_chunk = chunk_frames * per_frame,
          .window_chunks = run.chunks,
          .device = latents.device()};
}

FlowCacheConfig reuse_of(const MagiRun& run) {
  return {.warmup = run.warmup,
          .feature = Tap::tokens,
          .residual = ReuseKind::latent_increment,
          .protect_last = false,
          .unsafe = UnsafeDistance::parity};
}

}  // namespace

MagiPipeline::MagiPipeline(const MagiTransformer& model, const MagiRun& run,
                           std::vector<std::shared_ptr<const Condition>> captions, const at::Tensor& latents,
                           const at::Tensor& prefix, std::unique_ptr<KvPolicy> policy)
    : model_(model),
      run_(run),
      captions_(std::move(captions)),
      null_(model.null_condition(false)),
      latents_(latents.clone()),
      initial_frames_(prefix),
      reuse_(reuse_of(run)) {
  const MagiTimes times = magi_timesteps(run.steps, {.shortcut = run.shortcut});
  times_ = times.t;
  intervals_ = times.time_interval;
  const KvGeometry geometry = geometry_of(model, run, latents);
  const int64_t chunks = run.history_chunks > 0 ? run.history_chunks : run.chunks;
  if (!policy) policy = choose_kv("full").make();
  store_ = std::make_unique<KvStore>(geometry, chunks * geometry.tokens_per_chunk, std::move(policy));
  admitted_ = offset();
  run_prefix();
}

int MagiPipeline::total_steps() const {
  return per_stage() * (run_.chunks + run_.window - 1 - offset());
}

std::vector<int> MagiPipeline::emitted() const {
  std::vector<int> frames(static_cast<size_t>(run_.chunks - offset()), static_cast<int>(chunk_frames));
  // A prefix of a single frame is an image to animate, and is shown.
  if (run_.prefix > 1) frames[0] -= run_.prefix % static_cast<int>(chunk_frames);
  return frames;
}

int MagiPipeline::range_at(int step) const {
  if (run_.key_range.empty()) return unlimited;
  const int count = static_cast<int>(run_.key_range.size());
  return run_.key_range[static_cast<size_t>(step / (run_.steps / count))];
}

at::Tensor MagiPipeline::forward(int c, double t, int range, const Condition& condition, double step_size) {
  LastChunks view(store_->view(c),
                  range * chunk_frames * model_.shape().tokens_per_frame(latents_.size(2), latents_.size(3)));
  const Embedded embedded = model_.embed(chunk(c), t, c * chunk_frames, step_size);
  return model_.head(embedded,
                     model_.blocks(embedded, embedded.tokens, condition, view, 0, model_.shape().layers));
}

void MagiPipeline::run_prefix() {
  if (!initial_frames_.defined()) return;
  const int range = run_.clean_key_range > 0  ? run_.clean_key_range
                    : !run_.key_range.empty() ? run_.key_range.back()
                                              : 8;
  for (int c = 0; c < offset(); ++c) {
    store_->admit(c, c * chunk_frames);
    const at::Tensor kept = chunk(c).clone();
    chunk(c).copy_(initial_frames_.narrow(1, c * chunk_frames, chunk_frames));
    forward(c, run_.clean_time, range, *null_, magi_step_size(run_.steps, intervals_[0]));
    // In the published code the latents of these chunks stay noise, because they are not shown.
    chunk(c).copy_(kept);
    store_->finish(c);
  }
}

void MagiPipeline::paste_prefix(int c) {
  const int64_t frames = std::min<int64_t>(run_.prefix - c * chunk_frames, chunk_frames);
  if (initial_frames_.defined() && frames > 0)
    chunk(c).narrow(1, 0, frames).copy_(initial_frames_.narrow(1, c * chunk_frames, frames));
}

void MagiPipeline::finish(int c, int global) {
  // After the last chunk has begun, the published buffer has room for all that remain.
  if (run_.history_chunks > 0 && admitted_ == run_.chunks) return;
  if (!store_->finish(c)) return;
  std::vector<int> clean;
  for (int i = 0; i <= c; ++i) clean.push_back(i);
  shrinkings_.push_back({global, clean, last_chunk_, last_step_});
}

void MagiPipeline::decide(int global, const std::vector<std::pair<int, int>>& tick, MagiStep& report) {
  report.undecided = global == 0 || global == total_steps() - 1;
  std::vector<ChunkStep> steps;
  for (const auto& [c, s] : tick) {
    const double t = times_[s].item<double>();
    steps.push_back(
        {.info =
             {.chunk = c, .step = s, .steps = run_.steps, .timestep = t, .must_compute = report.undecided},
         .features = {.tokens = model_.embed(chunk(c), t, 0, 0).tokens}});
  }
  const std::vector<Decision> decisions = reuse_.decide(steps, *run_.threshold);
  for (size_t i = 0; i < tick.size(); ++i) report.decisions.emplace_back(tick[i].first, decisions[i]);
}

void MagiPipeline::advance(const std::vector<std::pair<int, int>>& tick, MagiStep& report, int global) {
  const double step_size = magi_step_size(run_.steps, intervals_[static_cast<size_t>(report.inner)]);
  for (size_t i = 0; i < tick.size(); ++i) {
    const auto [c, s] = tick[i];
    const double t = times_[s].item<double>();
    if (!report.decisions.empty() && report.decisions[i].second.action == Action::reuse) {
      chunk(c).add_(increments_.at(c));
      continue;
    }
    const Condition& caption = *captions_[static_cast<size_t>(c)];
    at::Tensor velocity = forward(c, t, range_at(s), caption, step_size);
    last_chunk_ = c;
    last_step_ = global;
    if (i == 0 && run_.near_clean && t > *run_.near_clean) {
      report.near_clean = true;
      velocity =
          blend_nearly_clean(velocity, forward_alone(model_, chunk(c), t, run_.chunks, caption, step_size));
    }
    const at::Tensor before = chunk(c).clone();
    chunk(c).add_(velocity * (times_[s + 1] - times_[s]));
    increments_[c] = chunk(c) - before;
  }
}

MagiStep MagiPipeline::step(int global) {
  MagiStep report{.stage = global / per_stage(), .inner = global % per_stage()};
  std::vector<std::pair<int, int>> tick;
  for (const ScheduledStep& one : Schedule(run_.steps, per_stage()).tick(global)) {
    const int c = static_cast<int>(one.chunk) + offset();
    if (c < run_.chunks) tick.emplace_back(c, one.step);
  }
  if (tick.back().second == 0) {
    store_->admit(tick.back().first, tick.back().first * chunk_frames);
    ++admitted_;
  }
  const int oldest = tick.front().first;
  report.clean = run_.clean_pass && report.inner == 0 && oldest > offset();
  if (report.clean) {
    report.forwarded.emplace_back(oldest - 1, run_.clean_time);
    const bool limited = run_.clean_key_range > 0 && !run_.key_range.empty();
    const int range = limited ? run_.clean_key_range : range_at(run_.steps - 1);
    const at::Tensor finished = chunk(oldest - 1).clone();
    paste_prefix(oldest - 1);  // into what the network sees; what was already emitted does not change
    forward(oldest - 1, run_.clean_time, range, *null_, magi_step_size(run_.steps, intervals_[0]));
    chunk(oldest - 1).copy_(finished);
    finish(oldest - 1, global);
  }
  for (const auto& [c, s] : tick) {
    report.forwarded.emplace_back(c, times_[s].item<double>());
    paste_prefix(c);
  }
  if (run_.threshold) decide(global, tick, report);
  advance(tick, report, global);
  for (const auto& [c, s] : tick) {
    if (s + 1 < run_.steps) continue;
    reuse_.end_chunk(c);
    if (!run_.clean_pass) finish(c, global);
  }
  return report;
}

}  // namespace golden
