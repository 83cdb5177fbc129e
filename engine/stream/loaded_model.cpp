// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/loaded_model.h"

#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "base/log.h"
#include "base/resources.h"
#include "cache/registry.h"
#include "cpu_isa.h"
#include "families/factory.h"
#include "families/family.h"
#include "package/files.h"
#include "stream/away_decoder.h"
#include "stream/cpu_report.h"
#include "stream/device.h"
#include "stream/work.h"

namespace flowcache {
namespace {

// Encodes on one lane, whatever thread asks, so that what an encoder remembers is in order.
class LaneTextEncoder final : public TextEncoder {
 public:
  LaneTextEncoder(std::unique_ptr<TextEncoder> encoder, const Lane& lane)
      : encoder_(std::move(encoder)), lane_(lane) {}
  TextFeatures encode(std::string_view prompt) const override {
    TextFeatures features;
    Handed made;
    {
      const OnLane here(lane_);
      features = encoder_->encode(prompt);
      made = Handed(features.embedding);
    }
    features.embedding = made.take();
    return features;
  }
  std::vector<std::string> vocabulary() const override { return encoder_->vocabulary(); }

 private:
  std::unique_ptr<TextEncoder> encoder_;
  Lane lane_;
};

}  // namespace

MemoryPlan plan_of(const ModelPackage& package, Precision precision, KvPrecision kv, at::Device device) {
  MemoryPlan plan = default_plan(package, c10::elementSize(precision.weights),
                                 c10::elementSize(precision.compute), device.is_cpu());
  plan.kv_int8 = kv == KvPrecision::int8;
  const KvShape shape = kv_shape(package);
  const KvGeometry geometry{.layers = static_cast<int>(shape.layers),
                            .kv_heads = shape.kv_heads,
                            .head_dim = shape.head_dim,
                            .tokens_per_frame = shape.tokens_per_frame,
                            .tokens_per_chunk = shape.tokens_per_chunk,
                            .window_chunks = static_cast<int64_t>(plan.chunks_in_flight),
                            .dtype = precision.compute,
                            .device = device,
                            .time_frequencies = shape.time_frequencies,
                            .heads = shape.heads,
                            .precision = kv,
                            .trained_frames = package.cache.value("trained_frames", int64_t{0})};
  const auto policy = choose_kv(resolve_kv(package.cache.value("kv", "window"))).make();
  const int64_t budget = package.cache.value("history_chunks", int64_t{1}) * shape.tokens_per_chunk;
  plan.kv_scratch = plan.branches * kv_needs(geometry, budget, *policy).scratch;
  return plan;
}

std::shared_ptr<const LoadedModel> LoadedModel::load(const LoadOptions& options, const Progress& progress) {
  const auto report = [&](const char* stage, double fraction) {
    if (progress && !progress(stage, fraction)) throw Error(FC_CANCELLED, "loading was cancelled");
  };
  const c10::InferenceMode inference;
  allowed_isa();  // throws for an unknown limit; also with a GPU, because some kernels always run on the CPU
  const unsigned threads = checked_threads(options.threads);
  const ArithmeticThreads arithmetic(threads);
  // LibTorch decides at its first convolution, for the life of the process, whether there is CUDA. So its CUDA half is
  // opened before any arithmetic wherever a driver answers, also for a model on the CPU.
  why_no_cuda();
  report("read", 0.0);
  const std::shared_ptr<LoadedModel> model(new LoadedModel, [](LoadedModel* last) {
    const at::Device device = last->device;
    finish_all(device);  // what the last stream or prompt has begun reads the weights
    const at::Device decoder_device = last->decoder_device;
    if (decoder_device != device) finish_all(decoder_device);
    delete last;
    if (decoder_device != device) give_back_memory(decoder_device);
    give_back_memory(device);
  });
  model->package = read_model(options.model);
  model->device = choose_device(options.device);
  model->decoder_device =
      options.decoder_device.empty() ? model->device : choose_device(options.decoder_device);
  if (model->decodes_away() && model->device.is_cpu())
    throw Error(FC_ERROR_ARGUMENT, "decoder_device=" + options.decoder_device +
                                       " is for a network on a GPU: set device too, or leave it out");
  const Precision precision = choose_precision(options.precision, model->device);
  if (precision.compute == at::kBFloat16 && bf16_is_emulated(model->device))
    log(FC_LOG_WARNING, "precision " + options.precision +
                            " computes in bf16, which is emulated here: it takes less memory than fp32, but "
                            "is less exact and no faster: " +
                            cpu_report().bf16_emulated + "; use precision=auto or fp32");
  model->compute = precision.compute;
  model->weights = precision.weights;
  model->kv_precision = choose_kv_precision(options.kv_precision);
  model->network_only = options.network_only;
  model->kv_share = options.kv_share;
  model->threads = threads;
  model->threads_alone = options.threads_alone == 0 ? threads : options.threads_alone;
  model->memory_limit = options.memory_limit;
  report("check", 0.05);
  check_files(model->package);
  const auto needs = model->memory_needs(options.width, options.height);
  check_memory(needs_of(needs, false), model->memory_available(), model->device.str());
  check_memory(needs_of(needs, true), free_host_memory(), "the host");
  if (model->decodes_away()) model->check_decoder_memory(options.width, options.height);
  report("load", 0.1);
  const LentLane lane(model->device);
  const Work work(threads, model->device, *lane);
  model->text_lane = std::make_shared<const LentLane>(model->device);
  if (!options.network_only) model->text = make_text_encoder(model->package, model->device);
  if (const Lane own = model->lane_of_text(); own.stream() && model->text)
    model->text = std::make_unique<LaneTextEncoder>(std::move(model->text), own);
  report("load", 0.2);
  model->transformer = make_transformer(model->package, precision, model->device);
  model->transformer->slice_tokens(options.slice_tokens);
  model->weights_anew = [package = model->package] { return transformer_weights(package); };
  model->ranks = options.ranks;
  if (model->ranks) model->transformer = model->ranks->split(std::move(model->transformer));
  report("load", 0.7);
  if (!options.network_only) model->decoder = model->new_decoder(options.precision);
  lane->wait();  // from here on any lane may read the weights
  give_back_memory(model->device);
  report("ready", 1.0);
  return model;
}

std::unique_ptr<Decoder> LoadedModel::new_decoder(const std::string& precision) const {
  if (!decodes_away()) return make_decoder(package, compute, device);
  return make_away_decoder(
      make_decoder(package, choose_precision(precision, decoder_device).compute, decoder_device),
      decoder_device, device);
}

MemoryPlan LoadedModel::plan_at(const ModelPackage& sized) const {
  MemoryPlan plan = plan_of(sized, {compute, weights}, kv_precision, device);
  plan.network_only = network_only;
  plan.kv_share = kv_share;
  if (package.random_weights) {
    const WeightSizes sizes = weight_sizes(package);
    plan.transformer_bytes = sizes.transformer;
    plan.decoder_bytes = sizes.decoder;
    plan.text_bytes = 0;  // random weights come with a small stand-in for the text encoder
  }
  plan.decoder_away = decodes_away();
  return plan;
}

std::vector<MemoryNeed> LoadedModel::memory_needs(int64_t width, int64_t height) const {
  const ModelPackage sized = at_size(package, width, height);
  return flowcache::memory_needs(sized, plan_at(sized));
}

void LoadedModel::check_decoder_memory(int64_t width, int64_t height) const {
  const ModelPackage sized = at_size(package, width, height);
  check_memory(decoder_needs(sized, plan_at(sized)), free_memory(decoder_device), decoder_device.str());
}

std::shared_ptr<const FrameEncoder> LoadedModel::frame_encoder() const {
  const std::lock_guard lock(encoder_mutex);
  if (!encoder) {
    encoder = make_frame_encoder(package, compute, device);
    wait_for(device);  // from here on any lane may read the weights
  }
  return encoder;
}

int64_t LoadedModel::tokens_per_frame(const PictureSize& size) const {
  return transformer->shape().tokens_per_frame(size.latent_height, size.latent_width);
}

int64_t LoadedModel::tokens_per_chunk(const PictureSize& size) const {
  return tokens_per_frame(size) * package.latent_frames_per_chunk;
}

uint64_t LoadedModel::memory_to_spare() const {
  const uint64_t free = free_memory(device);
  if (memory_limit == 0) return free;
  uint64_t planned = 0;
  for (const MemoryNeed& need : needs_of(memory_needs(0, 0), false)) planned += need.bytes;
  return std::min(free, memory_limit - std::min(memory_limit, planned));
}

uint64_t LoadedModel::memory_available() const {
  const uint64_t free = free_memory(device);
  return memory_limit == 0 ? free : std::min(free, memory_limit);
}

}  // namespace flowcache
