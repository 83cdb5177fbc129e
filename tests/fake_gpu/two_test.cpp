// SPDX-License-Identifier: LGPL-2.1-or-later
// Two GPUs in one process: the network on one, the decoder on the other.
#include <optional>
#include <string>
#include <vector>

#include "fixture.h"
#include "order.h"

using namespace fake_gpu_test;

namespace {

bool is_convolution(const FakeGpuOperation& one) {
  return one.kind == FAKE_GPU_LAUNCH && std::string(one.name).find("conv") != std::string::npos;
}

const Asked kApart{.device = "cuda:0", .decoder_device = "cuda:1"};

// What one call of next() gives the device, after the first.
struct Called {
  Called() {
    next(stream);
    const Notes notes;
    next(stream);
    first = Notes::count();
    next(stream);
    order.emplace();
  }
  // From operation `begin` on, the first launch on this device; -1 if there is none.
  long launch_on(int device, long begin) const {
    for (long i = begin; i < order->size(); ++i)
      if ((*order)[i].kind == FAKE_GPU_LAUNCH && (*order)[i].device == device) return i;
    return -1;
  }
  long last_launch_on(int device, long end) const {
    for (long i = end - 1; i >= 0; --i)
      if ((*order)[i].kind == FAKE_GPU_LAUNCH && (*order)[i].device == device) return i;
    return -1;
  }
  Engine engine = open_engine(kApart);
  Stream stream = open_stream(engine, kApart);
  long first = 0;  // how many operations the first noted call gave
  std::optional<Order> order;
};

// On one GPU the decoder's convolutions are known by their names.
TEST(Two, TheDecoderRunsOnItsOwnDevice) {
  const Called called;
  long there = 0, here = 0;
  for (long i = 0; i < called.order->size(); ++i) {
    const FakeGpuOperation& one = (*called.order)[i];
    EXPECT_TRUE(!Order::is_work(one) || one.stream) << one.name << ": on the default stream";
    if (is_convolution(one)) ++(one.device == 1 ? there : here);
  }
  EXPECT_GT(there, 0);
  EXPECT_EQ(here, 0);
  EXPECT_GT(called.launch_on(0, 0), -1) << "the network";
}

TEST(Two, AChunkIsDecodedThereWhileTheNextOnesStepsRunHere) {
  const Called called;
  const long decoded = called.last_launch_on(1, called.first);
  const long step = called.launch_on(0, called.first);
  ASSERT_GE(decoded, 0);
  ASSERT_GE(step, 0);
  EXPECT_FALSE(called.order->before(decoded, step)) << "the steps wait for the decoder";
  // But a chunk is decoded after its own steps.
  const long decoding = called.launch_on(1, called.first);
  ASSERT_GE(decoding, 0);
  const long steps_end = called.order->last_work((*called.order)[step].stream, called.first, decoding);
  ASSERT_GE(steps_end, step);
  EXPECT_TRUE(called.order->before(steps_end, decoding));
}

// Frames are back on the network's device before anybody reads them.
TEST(Two, AReaderWaitsForTheOtherDevice) {
  const Engine engine = open_engine(kApart);
  const Stream stream = open_stream(engine, kApart);
  const Notes notes;
  const Chunk chunk = next(stream);
  long decoded = -1;
  const Order then;
  for (long i = 0; i < then.size(); ++i)
    if (then[i].kind == FAKE_GPU_LAUNCH && then[i].device == 1) decoded = i;
  ASSERT_GE(decoded, 0);
  EXPECT_FALSE(then.known_to_host(decoded)) << "nothing was left to wait for";
  std::vector<uint8_t> pixels(size_t{256} * 160 * 4);
  fc_planes planes = fc_planes_init();
  planes.memory = FC_MEMORY_HOST;
  planes.format = FC_FORMAT_RGBA;
  planes.plane[0] = pixels.data();
  planes.stride[0] = 256 * 4;
  ASSERT_EQ(fc_chunk_write(chunk.get(), 0, &planes), FC_OK) << fc_last_error();
  EXPECT_TRUE(Order().known_to_host(decoded));
}

TEST(Two, TheProcessorCanDecodeToo) {
  Asked asked = kApart;
  asked.decoder_device = "cpu";
  const Engine engine = open_engine(asked);
  const Stream stream = open_stream(engine, asked);
  const Notes notes;
  next(stream);
  const Order order;
  for (long i = 0; i < order.size(); ++i) EXPECT_FALSE(is_convolution(order[i])) << order[i].name;
}

TEST(Two, WhatCannotBeIsRefused) {
  const auto refused = [](const Asked& asked, fc_status wanted, const std::string& part) {
    fc_status status = FC_OK;
    EXPECT_EQ(open_engine(asked, &status), nullptr);
    EXPECT_EQ(status, wanted);
    EXPECT_NE(std::string(fc_last_error()).find(part), std::string::npos) << fc_last_error();
  };
  refused({.device = "cuda:0", .decoder_device = "cuda:2"}, FC_ERROR_DEVICE, "there are 2 GPUs");
  refused({.device = "cpu", .decoder_device = "cuda:1"}, FC_ERROR_ARGUMENT,
          "decoder_device=cuda:1 is for a network on a GPU");
}

}  // namespace
