// SPDX-License-Identifier: LGPL-2.1-or-later
// The KV re-cache at a change of prompt, with tiny weights.
#include "stream/recache.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "cache/registry.h"
#include "temp_folder.h"
#include "tiny_model.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

using test::message_of;

constexpr int64_t chunk_frames = 3, chunk_tokens = 36, frame_tokens = 12;
constexpr size_t latent_bytes = 16 * chunk_frames * 6 * 8 * sizeof(float);

StreamConfig recache_config(const std::string& kv = "window") {
  return {.prompt = "fire", .negative_prompt = "ice", .seed = 5, .cache = "none", .kv_cache = kv, .steps = 3};
}

uint64_t recache(Stream& stream, const std::string& text) {
  return stream.prompt(text, FC_NEXT_CHUNK, FC_PROMPT_RECACHE);
}

// Keys and values of a history: [layer][K, V] of each branch.
using Histories = std::vector<std::vector<at::Tensor>>;

std::vector<at::Tensor> copy_of(const KvStore& kv, int layers) {
  std::vector<at::Tensor> all;
  for (int layer = 0; layer < layers; ++layer) {
    const KeyValue one = kv.history(layer);
    all.push_back(one.k.clone());
    all.push_back(one.v.clone());
  }
  return all;
}

Histories copy_of(const Stream& stream, int branches) {
  Histories all;
  for (int b = 0; b < branches; ++b)
    all.push_back(copy_of(stream.kv(b), stream.model().transformer->shape().layers));
  return all;
}

// The histories that the first step of the next chunk attends.
Histories attended_by_next(Stream& stream, int branches) {
  Histories seen;
  stream.watch_computed([&](const ChunkStep& step, const at::Tensor&) {
    if (step.info.step == 0) seen = copy_of(stream, branches);
  });
  stream.next();
  stream.watch_computed(nullptr);
  return seen;
}

struct Clean {
  at::Tensor latent;
  int64_t first_frame;
};

// By hand: the clean pass of these latents under a prompt, one after the other, in a cache of their size.
std::vector<at::Tensor> history_by_hand(const LoadedModel& model, const std::string& prompt,
                                        const std::vector<Clean>& chunks) {
  const Transformer& network = *model.transformer;
  const TransformerShape& shape = network.shape();
  KvStore kv({shape.layers, shape.kv_heads, shape.head_dim, frame_tokens, chunk_tokens},
             static_cast<int64_t>(chunks.size()) * chunk_tokens, choose_kv("full").make());
  const auto condition = network.condition(model.text->encode(prompt).embedding);
  for (size_t i = 0; i < chunks.size(); ++i) {
    const auto id = static_cast<int64_t>(i);
    kv.admit(id, chunks[i].first_frame);
    network.forward(chunks[i].latent, 0, chunks[i].first_frame, *condition, kv.view(id));
    kv.finish(id);
  }
  return copy_of(kv, shape.layers);
}

double difference(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].sizes() != b.at(i).sizes()) return 1e9;
    most = std::max(most, (a[i] - b[i]).abs().max().item<double>());
  }
  return a.size() == b.size() ? most : 1e9;
}

// Tells how often blocks() has run.
class CountedNetwork final : public test::WrappedTransformer {
 public:
  using WrappedTransformer::WrappedTransformer;
  std::function<void(int)> on_blocks;
  mutable int calls = 0;

  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override {
    if (on_blocks) on_blocks(++calls);
    return WrappedTransformer::blocks(embedded, std::move(tokens), condition, kv, first, last);
  }
};

struct HandCase {
  const char* kv;
  double guidance;
  int64_t budget_chunks;
  std::vector<std::pair<int, int64_t>>
      wanted;  // of six chunks: its number, and the latent frame it stands at
  int64_t trained_frames = 0;
};

TEST(Recache, TheHistoryIsThatOfTheSameLatentsUnderTheNewPrompt) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  for (const HandCase& one :
       {HandCase{"window", 1, 2, {{4, 12}, {5, 15}}},
        HandCase{"window:sink_frames=3", 1, 3, {{0, 0}, {4, 12}, {5, 15}}},
        HandCase{"window:sink_frames=3", 3, 3, {{0, 0}, {4, 12}, {5, 15}}},
        // Without gaps the sink stands just before the newer chunks.
        HandCase{"window:sink_frames=3,positions=relative", 1, 3, {{0, 9}, {4, 12}, {5, 15}}},
        // As far away as the model was trained on: the chunk after them ends with frame 20.
        HandCase{"window:sink_frames=3", 1, 3, {{0, 6}, {4, 12}, {5, 15}}, 15},
        HandCase{"tokentrim", 1, 3, {{0, 0}, {4, 12}, {5, 15}}}}) {
    SCOPED_TRACE(one.kv);
    const int branches = one.guidance == 1 ? 1 : 2;
    model->package.cache["history_chunks"] = one.budget_chunks;
    model->package.cache["trained_frames"] = one.trained_frames;
    StreamConfig config = recache_config(one.kv);
    config.guidance = one.guidance;
    Stream stream(model, config);
    std::vector<at::Tensor> made;
    for (int i = 0; i < 6; ++i) made.push_back(stream.next()->latent);
    std::vector<Clean> chunks;
    for (const auto& [chunk, frame] : one.wanted) chunks.push_back({made[chunk], frame});

    const Histories before = copy_of(stream, branches);
    recache(stream, "snow");
    if (branches == 2) stream.negative_prompt("rain");
    const Histories after = attended_by_next(stream, branches);
    EXPECT_LT(difference(after[0], history_by_hand(*model, "snow", chunks)), 1e-5);
    EXPECT_GT(difference(after[0], before[0]), 1e-3);
    if (branches == 1) continue;
    EXPECT_LT(difference(after[1], history_by_hand(*model, "rain", chunks)), 1e-5);
    EXPECT_GT(difference(after[1], before[1]), 1e-3);
  }
}

TEST(Recache, FramesThatTheStreamWasGivenRunAgainToo) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  model->package.cache["history_chunks"] = 3;
  const at::Tensor given = draw_noise(7, 0, 0, {16, 2 * chunk_frames, 6, 8}, at::kCPU);
  StreamConfig config = recache_config();
  config.initial_latents = given;
  Stream stream(model, config);
  const at::Tensor made = stream.next()->latent;
  recache(stream, "snow");
  const Histories after = attended_by_next(stream, 1);
  EXPECT_LT(difference(after[0], history_by_hand(*model, "snow",
                                                 {{given.narrow(1, 0, chunk_frames), 0},
                                                  {given.narrow(1, chunk_frames, chunk_frames), 3},
                                                  {made, 6}})),
            1e-5);
  stream.next();  // now the oldest given chunk is dropped, and later the other one
  stream.next();
  recache(stream, "rain");
  EXPECT_EQ(stream.next()->recached_chunks, 3);
}

// The noise is the same for every chunk, so only the history makes the difference.
TEST(Recache, GoesOnWithTheSceneUnlikeACutAndUnlikeABlend) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  model->package.cache["on_cut"] = "forget";
  at::Tensor last;
  const auto after = [&](uint32_t transition) {
    Stream stream(model, recache_config());
    for (int i = 0; i < 4; ++i) last = stream.next()->latent;
    stream.prompt("snow", FC_NEXT_CHUNK, transition);
    const auto chunk = stream.next();
    EXPECT_EQ(chunk->recached_chunks, transition == FC_PROMPT_RECACHE ? 2 : 0);
    EXPECT_EQ(chunk->recache_seconds > 0, transition == FC_PROMPT_RECACHE);
    EXPECT_LE(chunk->recache_seconds, chunk->seconds);
    EXPECT_EQ(stream.next()->recached_chunks, 0) << "the receipt is of one chunk only";
    return chunk->latent;
  };
  const at::Tensor cut = after(0), blend = after(2), again = after(FC_PROMPT_RECACHE);
  EXPECT_GT((again - blend).abs().max().item<double>(), 1e-2);
  const auto away = [&](const at::Tensor& latent) { return (latent - last).square().mean().item<double>(); };
  EXPECT_LT(away(again), away(cut));
}

// Beside the steps, a re-cached chunk has run the network once for each chunk of its history.
TEST(Recache, ItsOperationsCount) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  const auto flops = [&](uint32_t transition) {
    Stream stream(model, recache_config());
    for (int i = 0; i < 4; ++i) stream.next();
    stream.prompt("snow", FC_NEXT_CHUNK, transition);
    return stream.next()->flops;
  };
  EXPECT_GT(flops(FC_PROMPT_RECACHE), 1.2 * flops(0));
}

TEST(Recache, StreamsThatCannotSayWhyAndWhatElse) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  const auto say = [&](const std::function<void(StreamConfig&)>& change) {
    StreamConfig config = recache_config();
    change(config);
    Stream stream(model, config);
    std::string said;
    try {
      recache(stream, "snow");
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
      said = error.what();
    }
    stream.prompt("snow", FC_NEXT_CHUNK, 2);  // what the sentence advises works
    EXPECT_EQ(stream.next()->recached_chunks, 0);
    EXPECT_EQ(stream.recache_bytes() == 0, !said.empty());
    return said;
  };
  EXPECT_EQ(say([](StreamConfig&) {}), "");
  const std::string clean = say([](StreamConfig& c) { c.clean_context = 0; });
  EXPECT_NE(clean.find("no clean pass (clean_context)"), std::string::npos) << clean;
  EXPECT_NE(clean.find("blend the prompt in"), std::string::npos) << clean;
  const std::string several = say([](StreamConfig& c) { c.lag = 1; });
  EXPECT_NE(several.find("has 3 chunks in flight (lag=1 of 3 steps): open it with lag=3, or blend"),
            std::string::npos)
      << several;
}

// Every policy, also in 8 bits and with two branches: the history keeps to its budget, the latents that are kept to
// theirs, and a reset forgets them.
TEST(Recache, WorksWithEveryPolicyInBoundedMemory) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  model->package.cache["history_chunks"] = 3;
  std::vector<std::string> specs = {
      "window:sink_frames=1",         "window:sink_frames=4,positions=relative", "ca2:positions=relative",
      "packcache:positions=relative", "tokentrim:share=0.5,deviations=0",        "tokentrim:sink_chunks=0"};
  for (const auto& entry : kv_policies()) specs.push_back(entry.name);
  for (const KvPrecision precision : {KvPrecision::full, KvPrecision::int8}) {
    model->kv_precision = precision;
    for (const std::string& spec : specs) {
      if (choose_kv(spec).entry->name == "full") continue;  // see below
      SCOPED_TRACE(spec + (precision == KvPrecision::int8 ? " in 8 bits" : ""));
      StreamConfig config = recache_config(spec);
      config.guidance = spec.size() % 2 == 0 ? 1 : 3;
      Stream stream(model, config);
      size_t most = 0;
      for (int i = 0; i < 12; ++i) {
        if (i == 1 || i == 6 || i == 10) recache(stream, "snow" + std::to_string(i));
        const auto chunk = stream.next();
        ASSERT_TRUE(chunk->latent.isfinite().all().item<bool>()) << i;
        EXPECT_EQ(chunk->recached_chunks > 0, i == 1 || i == 6 || i == 10) << i;
        EXPECT_LE(chunk->recached_chunks, 4) << i;
        EXPECT_LE(chunk->kv_bytes, chunk->kv_budget) << i;
        most = std::max<size_t>(most, stream.recache_bytes());
      }
      EXPECT_GE(most, 3 * latent_bytes);
      EXPECT_LE(most, 4 * (latent_bytes + chunk_tokens * sizeof(float)));
      // As new: under the prompt in force, with nothing of the video before.
      stream.reset(5);
      EXPECT_EQ(stream.recache_bytes(), 0u);
      StreamConfig fresh_config = config;
      fresh_config.prompt = "snow10";
      Stream fresh(model, fresh_config);
      for (int i = 0; i < 4; ++i) {
        if (i == 2)
          for (Stream* one : {&stream, &fresh}) recache(*one, "fire");
        const auto have = stream.next(), wanted = fresh.next();
        EXPECT_TRUE(have->latent.equal(wanted->latent)) << i;
        EXPECT_EQ(have->recached_chunks, wanted->recached_chunks) << i;
      }
    }
  }
}

TEST(Recache, APolicyThatKeepsAllRunsAllAgain) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  model->package.cache["history_chunks"] = 4;
  Stream stream(model, recache_config("full"));
  for (int i = 0; i < 3; ++i) stream.next();
  recache(stream, "snow");
  EXPECT_EQ(stream.next()->recached_chunks, 3);
}

// Chunk 0 has no history: there is nothing to run.
TEST(Recache, BeforeTheFirstChunkIsACut) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  StreamConfig config = recache_config();
  Stream stream(model, config);
  recache(stream, "snow");
  const auto chunk = stream.next();
  EXPECT_EQ(chunk->recached_chunks, 0);
  config.prompt = "snow";
  EXPECT_TRUE(Stream(model, config).next()->latent.equal(chunk->latent));
}

TEST(Recache, PromptsThatFollowEachOtherFast) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  const auto begun = [&] {
    auto stream = std::make_unique<Stream>(model, recache_config());
    for (int i = 0; i < 3; ++i) stream->next();
    return stream;
  };
  const auto hasty = begun(), calm = begun();
  recache(*hasty, "rain");
  hasty->prompt("ocean", FC_NEXT_CHUNK, 5);
  const uint64_t last = recache(*hasty, "snow");
  recache(*calm, "snow");
  for (int i = 0; i < 3; ++i) {
    const auto a = hasty->next(), b = calm->next();
    EXPECT_TRUE(a->latent.equal(b->latent)) << i;
    if (i == 0) EXPECT_EQ(a->prompt_ticket, last);
    EXPECT_EQ(a->recached_chunks, i == 2 ? 0 : 2) << i;
    if (i == 0)
      for (const auto& one : {&hasty, &calm}) recache(**one, "sand");  // at once again
  }
  // A cut that comes last is one.
  recache(*hasty, "rain");
  hasty->prompt("ocean", FC_NEXT_CHUNK, 0);
  EXPECT_EQ(hasty->next()->recached_chunks, 0);
}

// Policies that look at how far each token moved judge the chunks that run again by what they had seen of them.
TEST(Recache, APolicySeesTheSameChangeOfEachTokenAgain) {
  const c10::InferenceMode inference;
  class Seeing final : public KvPolicy {
   public:
    explicit Seeing(std::vector<at::Tensor>& all) : all_(all) {}
    bool needs_drift() const override { return true; }
    at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
      all_.push_back(layer.change.clone());
      return at::arange(layer.k.size(1) - budget, layer.k.size(1), at::kLong);
    }

   private:
    std::vector<at::Tensor>& all_;
  };
  const auto model = test::tiny_model();
  const TransformerShape& shape = model->transformer->shape();
  std::vector<at::Tensor> seen;
  StreamParts parts = assemble(model, recache_config());
  parts.kv.front() = std::make_unique<KvStore>(
      KvGeometry{shape.layers, shape.kv_heads, shape.head_dim, frame_tokens, chunk_tokens},
      chunk_tokens + frame_tokens, std::make_unique<Seeing>(seen));
  Recache recache;
  recache.reserve(parts);
  for (int64_t i = 0; i < 2; ++i) {
    const at::Tensor change = at::arange(chunk_tokens, at::kFloat) + 100 * i + 1;
    parts.kv.front()->admit(i, parts.first_frame(i));
    parts.kv.front()->finish(i, change);
    recache.keep(parts, i, {draw_noise(3, i, 0, parts.latent_shape(), at::kCPU), 0}, change);
  }
  const std::vector<at::Tensor> before = std::exchange(seen, {});
  ASSERT_EQ(before.size(), static_cast<size_t>(shape.layers));
  recache.want();
  const ConditionPair conditions = {model->transformer->condition(model->text->encode("snow").embedding)};
  const Recache::Cost cost = recache.go_on(parts, conditions, [] {});
  EXPECT_FALSE(recache.wanted());
  EXPECT_EQ(cost.chunks, 2);
  ASSERT_EQ(seen.size(), before.size());
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(seen[i].equal(before[i])) << i;
}

struct Disturbance {
  const char* what;
  std::function<void(Stream&)> act;
  fc_status status;
};

// A cancellation or a failure while the history runs costs nothing of the result, and a reset there begins anew.
TEST(Recache, GoesOnAfterACancellationAndAfterAFailure) {
  const c10::InferenceMode inference;
  const auto model = test::tiny_model();
  model->package.cache["history_chunks"] = 4;
  CountedNetwork& network = *test::wrap_transformer<CountedNetwork>(*model);
  StreamConfig config = recache_config("window:sink_frames=3");
  config.guidance = 3;
  config.cache = "xchunk:angle=2";  // R7: what is reused across chunks was made under the old prompt
  const auto begun = [&] {
    auto stream = std::make_unique<Stream>(model, config);
    for (int i = 0; i < 6; ++i) stream->next();
    recache(*stream, "snow");
    return stream;
  };
  const auto undisturbed = begun();
  const auto wanted = undisturbed->next();
  EXPECT_EQ(wanted->recached_chunks, 4);
  EXPECT_EQ(wanted->decisions.front(), 1);
  const at::Tensor later = undisturbed->next()->latent;
  for (const Disturbance& one :
       {Disturbance{"cancelled", [](Stream& s) { s.cancel(); }, FC_CANCELLED},
        Disturbance{"failed", [](Stream&) { throw Error(FC_ERROR_DEVICE, "the card is gone"); },
                    FC_ERROR_DEVICE}}) {
    for (const bool reset : {false, true}) {
      SCOPED_TRACE(std::string(one.what) + (reset ? ", reset" : ""));
      const auto stream = begun();
      network.calls = 0;
      network.on_blocks = [&](int call) {
        if (call == 4) one.act(*stream);  // in the second chunk of four, in the second branch
      };
      fc_status status = FC_OK;
      try {
        stream->next();
      } catch (const Error& error) {
        status = error.status();
      }
      EXPECT_EQ(status, one.status);
      network.on_blocks = nullptr;
      if (reset) {
        stream->reset(5);
        StreamConfig fresh = config;
        fresh.prompt = "snow";
        EXPECT_TRUE(stream->next()->latent.equal(Stream(model, fresh).next()->latent));
        continue;
      }
      const auto chunk = stream->next();
      EXPECT_TRUE(chunk->latent.equal(wanted->latent));
      EXPECT_EQ(chunk->decisions, wanted->decisions);
      EXPECT_EQ(chunk->prompt_ticket, wanted->prompt_ticket);
      EXPECT_EQ(chunk->recached_chunks, 5) << "with what ran for nothing";
      EXPECT_TRUE(stream->next()->latent.equal(later));
    }
  }
}

}  // namespace
}  // namespace flowcache
