// SPDX-License-Identifier: LGPL-2.1-or-later
// Machines on which a GPU cannot be used, or not for long: one clear sentence, the process lives, the CPU still works.
// LibTorch looks at a machine once in a process, so each of them has a process of its own.
#include <ATen/ATen.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "api_report.h"
#include "fixture.h"

using namespace fake_gpu_test;

namespace {

constexpr long kMegabyte = 1'000'000;

using Machine = std::map<std::string, std::string>;

void have(long bytes) {
  setenv("FAKE_GPU_BYTES", std::to_string(bytes).c_str(), 1);
}

// Runs `test` in a process of its own, on that machine. Its failures are printed by it and fail this one.
void on(const Machine& machine, const std::function<void()>& test) {
  std::fflush(nullptr);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (const auto& [name, value] : machine) setenv(name.c_str(), value.c_str(), 1);
    test();
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "see above";
}

void expect_said(const std::string& part) {
  const std::string message = fc_last_error();
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

void expect_cpu_works() {
  const Engine engine = open_engine({.device = "cpu"});
  ASSERT_TRUE(engine) << fc_last_error();
  EXPECT_TRUE(next(open_stream(engine, {.steps = 4})));
}

void expect_gpu_works(const std::string& device) {
  const Engine engine = open_engine({.device = device});
  ASSERT_TRUE(engine) << fc_last_error();
  EXPECT_EQ(fc_engine_device(engine.get()), device);
  EXPECT_TRUE(next(open_stream(engine, {.steps = 4})));
}

void expect_refused(const std::string& device, const std::string& part) {
  fc_status status = FC_OK;
  const Engine engine = open_engine({.device = device}, &status);
  EXPECT_EQ(status, FC_ERROR_DEVICE) << device;
  EXPECT_EQ(engine, nullptr);
  expect_said(part);
}

void expect_only_the_cpu(const std::string& part) {
  for (int i = 0; i < 2; ++i) expect_refused("cuda", part);  // the second time it is remembered
  {
    const Engine engine = open_engine({.device = "auto"});
    EXPECT_STREQ(fc_engine_device(engine.get()), "cpu");
  }
  expect_cpu_works();
}

// A convolution, at which LibTorch decides whether there is CUDA.
void do_arithmetic() {
  EXPECT_EQ(at::conv2d(at::ones({1, 1, 3, 3}), at::ones({1, 1, 3, 3})).item<float>(), 9);
}

TEST(BadInput, ADriverThatIsTooOld) {
  on({{"FAKE_GPU_DRIVER", "12020"}},
     [] { expect_only_the_cpu("is too old: it runs CUDA 12.2 at most, and this LibTorch needs CUDA 13.0"); });
}

TEST(BadInput, WhatIsTooOldFollowsLibTorchsRuntime) {
  on({{"FAKE_GPU_DRIVER", "12020"}, {"FAKE_GPU_RUNTIME", "12060"}}, [] { expect_gpu_works("cuda:0"); });
  on({{"FAKE_GPU_DRIVER", "13000"}, {"FAKE_GPU_RUNTIME", "14000"}},
     [] { expect_only_the_cpu("needs CUDA 14.0"); });
}

TEST(BadInput, NoDevice) {
  on({{"FAKE_GPU_DEVICES", "0"}}, [] { expect_only_the_cpu("the NVIDIA driver reports no device"); });
  on({{"FAKE_GPU_DEVICES", "0"}, {"CUDA_VISIBLE_DEVICES", "3"}},
     [] { expect_only_the_cpu("CUDA_VISIBLE_DEVICES=\"3\" leaves no device visible: unset it"); });
}

TEST(BadInput, AnIndexThatIsOutOfRange) {
  on({{"FAKE_GPU_DEVICES", "2"}}, [] {
    for (const char* device : {"cuda:2", "cuda:99", "cuda:1000", "cuda:-1", "cuda: 1", "cuda:"})
      expect_refused(device, "there are 2 GPUs");
    expect_gpu_works("cuda:1");
    expect_cpu_works();
  });
}

TEST(BadInput, ArithmeticBeforeTheEngineIsOpened) {
  on({}, [] {
    setenv("CUDA_VISIBLE_DEVICES", "0", 1);  // names the GPU that is there, so it is not the cause
    do_arithmetic();
    expect_only_the_cpu("had done arithmetic in this process before");
  });
}

// What inspect --memory says for a card, done to model.json, opens on a GPU of that size, and the template as it is does not.
TEST(BadInput, WhatIsAdvisedForACardOpensOnIt) {
  on({}, [] {
    const Template folder("self-forcing-1.3b");
    Asked asked{.model = folder.model(), .width = 0, .height = 0};
    const char* text = nullptr;
    ASSERT_EQ(fc_model_fit(asked.model.c_str(), 8000 * kMegabyte, &text), FC_OK) << fc_last_error();
    const auto fit = nlohmann::json::parse(text);
    ASSERT_TRUE(fit.at("fits").get<bool>()) << text;
    have(counts().used + 7000 * kMegabyte);  // 1 GB is the driver's and the desktop's
    fc_status status = FC_OK;
    open_engine(asked, &status);
    EXPECT_EQ(status, FC_ERROR_MEMORY) << "needs no advice";
    const std::string file = asked.model.substr(std::string("random:").size()) + "/model.json";
    auto model = nlohmann::json::parse(std::ifstream(file));
    model["cache"]["history_chunks"] = fit.at("history_chunks");
    if (fit.at("one_at_a_time").get<bool>()) model["sampler"]["lag"] = 0;
    std::ofstream(file) << model;
    asked.precision = fit.at("precision");
    asked.width = fit.at("width");
    asked.height = fit.at("height");
    const Engine engine = open_engine(asked);
    EXPECT_TRUE(open_stream(engine, asked));
  });
}

// The preflight saw enough, then another program took it: LibTorch's allocator throws in the middle of loading.
int take_it_away(void*, const char* stage, double) {
  if (std::string(stage) == "load") have(counts().used + 20 * kMegabyte);
  return 0;
}

TEST(BadInput, OutOfMemoryAtLoad) {
  on({}, [] {
    const Template wan("self-forcing-1.3b");
    const std::string model = wan.model();
    fc_engine_config config = fc_engine_config_init();
    config.model = model.c_str();
    config.device = "cuda";
    config.precision = "bf16";
    fc_engine* engine = nullptr;
    EXPECT_EQ(fc_engine_open(&config, take_it_away, nullptr, &engine), FC_ERROR_MEMORY);
    EXPECT_EQ(engine, nullptr);
    expect_said("memory");
    expect_cpu_works();
    EXPECT_LT(counts().used, 64 * kMegabyte) << "what was loaded is given back";
    have(80000 * kMegabyte);
    expect_gpu_works("cuda:0");
  });
}

TEST(BadInput, OutOfMemoryInTheMiddleOfASecondStream) {
  on({}, [] {
    const Template wan("self-forcing-1.3b");
    const Asked asked{.model = wan.model(), .width = 0, .height = 0};
    const Engine engine = open_engine(asked);
    const Stream first = open_stream(engine, asked);
    next(first);
    next(first);
    {
      const Stream second = open_stream(engine, asked);
      have(counts().used);
      fc_status status = FC_OK;
      // The first stream's working memory is the allocator's to give, so the second may live for some chunks, which are kept.
      std::vector<Chunk> kept;
      while (status == FC_OK && kept.size() < 1000) {
        fc_chunk* chunk = nullptr;
        status = fc_stream_next(second.get(), &chunk);
        kept.emplace_back(chunk);
      }
      EXPECT_EQ(status, FC_ERROR_MEMORY) << fc_last_error();
      expect_said("memory");
    }
    next(first);  // on a GPU that is no larger
    expect_cpu_works();
    next(first);
  });
}

}  // namespace
