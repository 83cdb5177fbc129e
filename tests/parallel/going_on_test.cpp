// SPDX-License-Identifier: LGPL-2.1-or-later
// Workers that are lost in mid-stream, and the stream that goes on in those that are left.
#include <signal.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "parallel/team.h"
#include "ranks.h"
#include "stream/noise.h"

using namespace flowcache;
using namespace flowcache::test;

namespace {

// What happens behind the n-th computed step of a stream, counted from 1.
using Happens = std::map<int, std::function<void(Stream&)>>;

Played play_through(const std::shared_ptr<const LoadedModel>& model, const StreamConfig& config, int chunks,
                    const Happens& happens, const Script& script = nullptr) {
  int steps = 0;
  return play(model, config, chunks, [&](Stream& stream, int chunk) {
    if (chunk == 0) {
      stream.may_lose_keys();
      stream.watch_computed([&](const ChunkStep&, const at::Tensor&) {
        if (const auto found = happens.find(++steps); found != happens.end()) found->second(stream);
      });
    }
    if (script) script(stream, chunk);
  });
}

std::vector<std::string> warnings;

class GoingOn : public testing::Test {
 protected:
  GoingOn() : before_(children()) {
    warnings.clear();
    set_log_function(
        [](void*, fc_log_level level, const char* message) {
          if (level == FC_LOG_WARNING || level == FC_LOG_ERROR) warnings.emplace_back(message);
        },
        nullptr);
  }
  ~GoingOn() override {
    model_.reset();
    EXPECT_TRUE(workers().empty());
    set_log_function(nullptr, nullptr);
  }
  void load(const json& package, int ranks, const std::string& attention = "", uint32_t timeout_ms = 3000) {
    model_ = std::make_unique<OnRanks>(package, ranks, attention, timeout_ms, "go_on");
  }
  std::vector<pid_t> workers() const {
    std::vector<pid_t> own = children();
    std::erase_if(own, [&](pid_t one) { return std::count(before_.begin(), before_.end(), one) > 0; });
    return own;
  }
  // Workers get this signal behind these steps, the youngest first. The frames are those of one process that makes its
  // keys anew in the same steps.
  void expect_going_on(const StreamConfig& config, int chunks, const std::vector<int>& steps,
                       int signal = SIGKILL, const Script& script = nullptr) {
    Happens lost, here;
    for (const int step : steps) {
      lost[step] = [this, signal](Stream&) { kill(workers().back(), signal); };
      here[step] = [](Stream& stream) { stream.lose_keys(); };
    }
    const size_t ranks = workers().size();
    const Played wanted = play_through(model_->alone, config, chunks, here, script);
    const Played got = play_through(model_->together, config, chunks, lost, script);
    EXPECT_EQ(workers().size(), ranks - steps.size());
    EXPECT_EQ(model_->together->ranks->count(), static_cast<int>(1 + ranks - steps.size()));
    EXPECT_EQ(Stream(model_->together, config).stats().devices, static_cast<int>(1 + ranks - steps.size()));
    for (size_t i = 0; i < wanted.latents.size(); ++i) {
      ASSERT_TRUE(wanted.latents[i].isfinite().all().item<bool>());
      EXPECT_EQ(got.decisions[i], wanted.decisions[i]) << "chunk " << i;
      EXPECT_LE((got.latents[i] - wanted.latents[i]).abs().max().item<double>(), 1e-5) << "chunk " << i;
      EXPECT_LE((got.frames[i] - wanted.frames[i]).abs().max().item<double>(), 1e-5) << "chunk " << i;
    }
  }

  const c10::InferenceMode inference_;
  std::vector<pid_t> before_;
  std::unique_ptr<OnRanks> model_;
};

TEST_F(GoingOn, FromThreeRanksToOne) {
  load(tiny_wan(4), 3);
  const pid_t last = workers().back();
  expect_going_on(config_of("none"), 6, {20, 35});
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_EQ(warnings[0],
            "rank 2 (cpu, process " + std::to_string(last) +
                ") was ended by signal 9 (Killed); the stream goes on with 2 of 3 devices, with its "
                "history made anew");
  EXPECT_NE(warnings[1].find("goes on with 1 of 2 devices"), std::string::npos) << warnings[1];
  // And so does the next one of the engine, from its beginning.
  expect_same(*model_, config_of("none"), 2);
}

// Nothing was dropped from the history yet: it comes out as it was, chunks in flight do, and so do the frames.
TEST_F(GoingOn, TheFramesAreThoseOfNoLossWhereTheHistoryIsWhole) {
  for (const json& package : {tiny_wan(4), tiny_skyreels(), tiny_magi(false)}) {
    SCOPED_TRACE(package["family"].get<std::string>());
    load(package, 2);
    const Played wanted = play(model_->alone, config_of("none"), 2);
    for (const int step :
         {11, 12, 14}) {  // with chunks in flight: behind the older one, and behind the other
      if (workers().empty()) load(package, 2);
      const Played got = play_through(model_->together, config_of("none"), 2,
                                      {{step, [&](Stream&) { kill(workers().back(), SIGKILL); }}});
      EXPECT_TRUE(workers().empty());
      for (size_t i = 0; i < 2; ++i)
        EXPECT_LE((got.latents[i] - wanted.latents[i]).abs().max().item<double>(), 1e-5) << step;
    }
  }
}

TEST_F(GoingOn, InTheFirstChunkAndBeforeACleanPass) {
  load(tiny_wan(3), 4);  // by rows, while it is four
  expect_going_on(config_of("none", "flowcache"), 5, {1, 8, 24});
}

TEST_F(GoingOn, WithGuidance) {
  load(tiny_wan(4), 3);  // by heads or rows, then a branch for each
  StreamConfig config = config_of("none");
  config.guidance = 3;
  expect_going_on(config, 5, {12, 26});
}

TEST_F(GoingOn, WithChunksInFlightAndWithoutACleanPass) {
  load(tiny_skyreels(), 3);
  expect_going_on(config_of("none"), 5, {11, 22});
}

TEST_F(GoingOn, WithPasses) {
  load(tiny_magi(true), 3);
  expect_going_on(config_of("none"), 5, {13, 30});
}

TEST_F(GoingOn, WithWhatPoliciesKeep) {
  load(tiny_wan(4), 4);
  StreamConfig kept = config_of("attention"), tokens = config_of("dbcache:warmup=1", "flowcache");
  tokens.threshold = 0.5;
  expect_going_on(kept, 4, {7});
  expect_going_on(tokens, 4, {11});
  StreamConfig in_flight = config_of("flowcache:warmup=1,protect_last=0", "flowcache");
  in_flight.lag = 2;
  in_flight.threshold = 2;
  expect_going_on(in_flight, 5, {13});
}

TEST_F(GoingOn, WithAPrefix) {
  load(tiny_wan(4), 3);
  StreamConfig config = config_of("none");
  const ModelPackage& package = model_->alone->package;
  const PictureSize size = picture_size(package, 0, 0);
  config.initial_latents = draw_noise(
      7, 0, 0, {16, 2 * package.latent_frames_per_chunk, size.latent_height, size.latent_width}, at::kCPU);
  expect_going_on(config, 3, {3, 12});
}

TEST_F(GoingOn, PromptsAndResetsAreHeededAfterwards) {
  load(tiny_wan(4), 2);
  expect_going_on(config_of("none"), 6, {11}, SIGKILL, [](Stream& stream, int chunk) {
    if (chunk == 2) stream.prompt("orange fire", FC_NEXT_CHUNK, FC_PROMPT_RECACHE);
    if (chunk == 3) stream.prompt("a golden ocean", 3, 2);
    if (chunk == 5) stream.reset(9);
  });
}

TEST_F(GoingOn, ACancelledStreamGoesOnToo) {
  load(tiny_wan(4), 3);
  const Happens here = {{20, [](Stream& stream) { stream.lose_keys(); }}};
  const Played wanted = play_through(model_->alone, config_of("none"), 4, here);
  Stream stream(model_->together, config_of("none"));
  int steps = 0, cancelled = 0;
  stream.watch_computed([&](const ChunkStep&, const at::Tensor&) {
    ++steps;
    if (steps == 20) kill(workers().back(), SIGKILL);
    if (steps == 20 || steps == 23) stream.cancel();
  });
  for (size_t chunk = 0; chunk < 4;) {
    try {
      EXPECT_LE((stream.next()->latent - wanted.latents[chunk]).abs().max().item<double>(), 1e-5) << chunk;
      ++chunk;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FC_CANCELLED) << error.what();
      ++cancelled;
    }
  }
  EXPECT_EQ(cancelled, 2);
  EXPECT_EQ(workers().size(), 1U);
}

TEST_F(GoingOn, WithoutAStoppedWorker) {
  load(tiny_wan(4), 3);
  const auto begin = std::chrono::steady_clock::now();
  expect_going_on(config_of("none"), 3, {12}, SIGSTOP);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find(") is stopped; the stream goes on with 2 of 3"), std::string::npos)
      << warnings[0];
}

// Nobody is gone: one was slow, and answers last.
TEST_F(GoingOn, WithoutTheLastToAnswer) {
  load(tiny_wan(4), 3);
  Team& team = dynamic_cast<Team&>(*model_->together->ranks);
  const Played wanted = play_through(model_->alone, config_of("none"), 3,
                                     {{12, [](Stream&) -> void { throw RanksChanged(); }}});
  const Played got = play_through(model_->together, config_of("none"), 3,
                                  {{12, [&](Stream&) { team.fail("it took too long"); }}});
  EXPECT_EQ(workers().size(), 1U);
  EXPECT_EQ(team.count(), 2);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(
      warnings[0].find("was the last to answer after an exchange had failed (it took too long); the stream "
                       "goes on with 2 of 3 devices"),
      std::string::npos)
      << warnings[0];
  for (size_t i = 0; i < 3; ++i)
    EXPECT_LE((got.latents[i] - wanted.latents[i]).abs().max().item<double>(), 1e-5) << i;
}

// It is still stopped when it should answer, and wakes up too late.
TEST_F(GoingOn, WithoutAWorkerThatWakesUpTooLate) {
  load(tiny_wan(4), 3, "", 500);
  const pid_t victim = workers().front();
  std::thread wakes;
  const Played wanted =
      play_through(model_->alone, config_of("none"), 3, {{12, [](Stream& stream) { stream.lose_keys(); }}});
  const Played got = play_through(model_->together, config_of("none"), 3,
                                  {{12, [&](Stream&) {
                                      kill(victim, SIGSTOP);
                                      wakes = std::thread([&] {
                                        std::this_thread::sleep_for(std::chrono::milliseconds(1500));
                                        kill(victim, SIGCONT);
                                      });
                                    }}});
  wakes.join();
  ASSERT_EQ(warnings.size(), 1U);
  ASSERT_EQ(workers().size(), 1U);
  EXPECT_NE(workers().front(), victim);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_LE((got.latents[i] - wanted.latents[i]).abs().max().item<double>(), 1e-5) << i;
}

// Each finds out by itself that its keys are gone.
TEST_F(GoingOn, TwoStreamsOfAnEngine) {
  load(tiny_wan(4), 3);
  const Played wanted = play(model_->alone, config_of("none"), 3);
  Stream one(model_->together, config_of("none")), two(model_->together, config_of("none"));
  for (size_t i = 0; i < 3; ++i) {
    if (i > 0) kill(workers().back(), SIGKILL);
    for (Stream* stream : {&one, &two})
      EXPECT_LE((stream->next()->latent - wanted.latents[i]).abs().max().item<double>(), 1e-5) << i;
  }
  EXPECT_TRUE(workers().empty());
}

}  // namespace
