// SPDX-License-Identifier: LGPL-2.1-or-later
// What is stopped or refused in mid-stream leaves the ranks in step.
#include <chrono>
#include <thread>

#include "../unit/checkpoint_writer.h"
#include "base/error.h"
#include "ranks.h"

using namespace flowcache;
using namespace flowcache::test;

namespace {

StreamConfig small() {
  StreamConfig config = config_of("none");
  config.steps = 4;
  config.width = 256;
  config.height = 160;
  return config;
}

// A cancellation is heard within a layer where one process computes. Here it waits for the end of blocks().
TEST(Changes, AfterACancellationTheFramesAreTheSame) {
  const c10::InferenceMode inference;
  const OnRanks model(ambient, 2, "heads");
  for (const double guidance : {1.0, 3.0}) {  // 3: each rank runs a branch
    StreamConfig config = small();
    config.guidance = guidance;
    const Played wanted = play(model.alone, config, 3);
    Stream stream(model.together, config);
    int cancelled = 0;
    for (int chunk = 0; chunk < 3;) {
      std::thread other([&] {
        if (cancelled > 12) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(1 + 7 * cancelled));
        stream.cancel();
      });
      try {
        const auto made = stream.next();
        EXPECT_LT((made->latent - wanted.latents[chunk]).abs().max().item<double>(), 1e-4) << chunk;
        ++chunk;
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), FC_CANCELLED) << error.what();
        ++cancelled;
      }
      other.join();
    }
    EXPECT_GT(cancelled, 2) << guidance;
  }
}

TEST(Changes, ALoraWhilePlayingIsRefusedAndTheStreamGoesOn) {
  const c10::InferenceMode inference;
  const OnRanks model(ambient, 2, "heads");
  const std::string key = "diffusion_model.blocks.0.self_attn.o.lora_";
  const WeightMap lora = {{key + "down.weight", at::ones({1, 192})}, {key + "up.weight", at::ones({192, 1})}};
  const TempFolder folder;
  const std::string file = folder.write("one.safetensors", safetensors_of(lora)).string();
  const Played wanted = play(model.alone, small(), 2);
  Stream stream(model.together, small());
  stream.next();
  const std::string said = message_of([&] { stream.lora(file, FC_NEXT_CHUNK); });
  EXPECT_NE(said.find("2 devices cannot take other weights while it plays"), std::string::npos) << said;
  EXPECT_LT((stream.next()->latent - wanted.latents[1]).abs().max().item<double>(), 1e-4);
}

}  // namespace
