// SPDX-License-Identifier: LGPL-2.1-or-later
// On which of the device's streams the engine works, and that what one hands to another is there before it is read.
#include <ATen/Context.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <set>
#include <thread>

#include "fixture.h"
#include "order.h"
#include "stream/lane.h"

using namespace fake_gpu_test;

namespace {

// Planes in host or CUDA memory for the ambient model's frames.
class Planes {
 public:
  explicit Planes(fc_memory memory) : memory_(memory) {
    constexpr size_t kBytes = size_t{256} * 160 * 4;
    if (memory == FC_MEMORY_HOST) {
      host_.resize(kBytes);
      place_ = host_.data();
    } else {
      const auto allocate = reinterpret_cast<decltype(&cudaMalloc)>(dlsym(RTLD_DEFAULT, "cudaMalloc"));
      allocate(&place_, kBytes);
    }
  }
  ~Planes() {
    if (memory_ == FC_MEMORY_CUDA)
      reinterpret_cast<decltype(&cudaFree)>(dlsym(RTLD_DEFAULT, "cudaFree"))(place_);
  }
  Planes(const Planes&) = delete;
  Planes& operator=(const Planes&) = delete;

  // On a thread that has not made the chunk.
  void read(const Chunk& chunk, uint32_t frame = 0) const {
    std::thread([&] {
      const fc_planes planes = this->planes();
      EXPECT_EQ(fc_chunk_write(chunk.get(), frame, &planes), FC_OK) << fc_last_error();
    }).join();
  }
  fc_planes planes() const {
    fc_planes planes = fc_planes_init();
    planes.memory = memory_;
    planes.format = FC_FORMAT_RGBA;
    planes.plane[0] = place_;
    planes.stride[0] = 256 * 4;
    return planes;
  }

 private:
  fc_memory memory_;
  std::vector<uint8_t> host_;
  void* place_ = nullptr;
};

// Feeds a chunk the same frame as often as it has frames. Returns their number.
uint32_t feed(const Stream& stream, const Planes& frame, bool follow_motion = false) {
  uint32_t count = 0;
  EXPECT_EQ(fc_stream_feed_frames(stream.get(), &count), FC_OK) << fc_last_error();
  const std::vector<fc_planes> frames(count, frame.planes());
  fc_feed given = fc_feed_init();
  given.frames = frames.data();
  given.count = count;
  given.strength = 0.5;
  given.follow_motion = follow_motion ? 1 : 0;
  EXPECT_EQ(fc_stream_feed(stream.get(), &given, nullptr), FC_OK) << fc_last_error();
  return count;
}

uint64_t change_prompt(const Stream& stream, const char* text) {
  uint64_t ticket = 0;
  std::thread([&] {
    fc_prompt_change change = fc_prompt_change_init();
    change.text = text;
    change.at_chunk = FC_NEXT_CHUNK;
    EXPECT_EQ(fc_stream_prompt(stream.get(), &change, &ticket), FC_OK) << fc_last_error();
  }).join();
  return ticket;
}

// The streams that work runs on, from operation `begin` to before `end`.
std::set<void*> streams_of(const Order& order, long begin, long end) {
  std::set<void*> streams;
  for (long i = begin; i < end; ++i)
    if (Order::is_work(order[i])) streams.insert(order[i].stream);
  return streams;
}

// A default stream waits for other libraries' work, and they for its.
TEST(Streams, TheDefaultStreamGetsNothing) {
  const Notes notes;
  {
    const Engine engine = open_engine({.precision = "fp32"});
    for (const char* cache : {"flowcache", "auto", "teacache+offload", "attention+cfg_cache"}) {
      const Stream stream = open_stream(engine, {.cache = cache, .guidance = 3});
      const Planes host(FC_MEMORY_HOST), device(FC_MEMORY_CUDA);
      for (int i = 0; i < 3; ++i) {
        const Chunk chunk = next(stream);
        host.read(chunk);
        device.read(chunk);
        change_prompt(stream, i == 0 ? "blue water" : "green forest");
      }
      ASSERT_EQ(fc_stream_negative_prompt(stream.get(), "snow"), FC_OK) << fc_last_error();
      ASSERT_EQ(fc_stream_reset(stream.get(), 1), FC_OK);
      next(stream);
    }
  }
  const Order order;
  ASSERT_GT(order.size(), 1000);
  long on_default = 0;
  for (long i = 0; i < order.size(); ++i) {
    if (!Order::is_work(order[i]) || order[i].stream) continue;
    if (++on_default < 5) ADD_FAILURE() << "operation " << i << ": " << order[i].kind << ' ' << order[i].name;
  }
  EXPECT_EQ(on_default, 0);
}

// Frames in CUDA memory are converted there, on the stream that encodes them, and none of it is the default one.
TEST(Streams, FedFramesOfTheDeviceStayThere) {
  const Engine engine = open_engine({});
  for (const fc_memory memory : {FC_MEMORY_CUDA, FC_MEMORY_HOST}) {
    const Stream stream = open_stream(engine, {});
    const Planes frame(memory);
    feed(stream, frame);
    next(stream);
    const FakeGpuCounts begin = counts();
    const Notes notes;
    const uint32_t frames = feed(stream, frame);
    const Order order;
    EXPECT_EQ(between(begin, counts()).to_host, 0);
    std::set<void*> streams;
    uint32_t read = 0;
    for (long i = 0; i < order.size(); ++i) {
      if (!Order::is_work(order[i])) continue;
      streams.insert(order[i].stream);
      read += std::string(order[i].name).find("read_rgba") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(read, memory == FC_MEMORY_CUDA ? frames : 0);
    EXPECT_EQ(streams.size(), 1u) << "it is one lane's work";
    EXPECT_FALSE(streams.count(nullptr));
    next(stream);
    // Its motion is compared with frames that came from elsewhere.
    feed(stream, Planes(memory == FC_MEMORY_CUDA ? FC_MEMORY_HOST : FC_MEMORY_CUDA), true);
    next(stream);
  }
}

// next() returns while the chunk is still decoded on another stream. Its first reader waits for that.
TEST(Streams, AReaderOfFramesWaitsForTheDecoder) {
  const Engine engine = open_engine({});
  for (const fc_memory memory : {FC_MEMORY_HOST, FC_MEMORY_CUDA}) {
    const Stream stream = open_stream(engine, {});
    const Planes planes(memory);
    // From the second chunk on, the copy to the host is begun before the chunk leaves the stream.
    for (int i = 0; i < 3; ++i) {
      const Notes notes;
      const Chunk chunk = next(stream);
      const long made = Notes::count();
      const Order then;
      ASSERT_EQ(then.size(), made);
      void* decoder = nullptr;
      for (long k = made - 1; k >= 0 && !decoder; --k)
        if (Order::is_work(then[k])) decoder = then[k].stream;
      const long last = then.last_work(decoder, 0, made);
      ASSERT_GE(last, 0);
      EXPECT_FALSE(then.known_to_host(last)) << "nothing was left to wait for";
      planes.read(chunk);
      const Order order;
      if (order.size() > made && memory == FC_MEMORY_CUDA) {
        long conversion = -1;
        for (long k = made; k < order.size() && conversion < 0; ++k)
          if (Order::is_work(order[k])) conversion = k;
        ASSERT_GE(conversion, 0);
        EXPECT_TRUE(order.before(last, conversion)) << i;
      }
      EXPECT_TRUE(order.known_to_host(last)) << i;
    }
  }
}

// The decoder's work and the next chunk's steps need not wait for each other.
TEST(Streams, AChunkIsDecodedWhileTheNextOnesStepsRun) {
  const Engine engine = open_engine({});
  const Stream stream = open_stream(engine, {});
  next(stream);
  const Notes notes;
  next(stream);
  const long made = Notes::count();
  next(stream);
  const Order order;
  void* const decoder = [&] {
    for (long k = made - 1; k >= 0; --k)
      if (Order::is_work(order[k])) return order[k].stream;
    return static_cast<void*>(nullptr);
  }();
  const long decoded = order.last_work(decoder, 0, made);
  long step = -1;
  for (long k = made; k < order.size() && step < 0; ++k)
    if (order[k].kind == FAKE_GPU_LAUNCH && order[k].stream != decoder) step = k;
  ASSERT_GE(step, 0);
  EXPECT_FALSE(order.before(decoded, step));
  // But a chunk is not decoded before its own steps are done.
  long decoding = -1;
  for (long k = made; k < order.size() && decoding < 0; ++k)
    if (order[k].kind == FAKE_GPU_LAUNCH && order[k].stream == decoder) decoding = k;
  const long steps_end = order.last_work(order[step].stream, made, decoding);
  ASSERT_GE(decoding, 0);
  EXPECT_TRUE(order.before(steps_end, decoding));
}

TEST(Streams, FeaturesOfAPromptAreThereBeforeAChunkUsesThem) {
  const Engine engine = open_engine({});
  const Stream stream = open_stream(engine, {.guidance = 3});
  next(stream);
  const Notes notes;
  change_prompt(stream, "blue water");
  ASSERT_EQ(fc_stream_negative_prompt(stream.get(), "snow"), FC_OK) << fc_last_error();
  const long encoded = Notes::count();
  next(stream);
  const Order order;
  const std::set<void*> text = streams_of(order, 0, encoded);
  ASSERT_EQ(text.size(), 1u) << "prompts are encoded on one stream";
  const long features = order.last_work(*text.begin(), 0, encoded);
  // The first work of the chunk on another stream that is not its noise: the condition. Everything behind it is in order.
  std::set<void*> used = streams_of(order, encoded, order.size());
  used.erase(*text.begin());
  ASSERT_FALSE(used.empty());
  for (void* const stream_of_steps : used)
    EXPECT_TRUE(order.before(features, order.last_work(stream_of_steps, encoded, order.size())));
}

// LibTorch's allocator hands freed memory to the next who asks on the same stream, at once. Memory that another stream
// still reads is kept until that one is done.
TEST(Streams, MemoryThatAnotherStreamReadsIsNotUsedAgainTooEarly) {
  const flowcache::Lane maker(at::Device(at::kCUDA, 0)), reader(at::Device(at::kCUDA, 0));
  ASSERT_NE(maker.stream()->id(), reader.stream()->id());
  const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kFloat);
  const auto make = [&] {
    const flowcache::OnLane here(maker);
    return at::zeros({1 << 20}, options);
  };
  void* place = nullptr;
  {
    flowcache::Handed handed;
    {
      const flowcache::OnLane here(maker);
      handed = flowcache::Handed(at::zeros({1 << 20}, options));
    }
    const flowcache::OnLane here(reader);
    const at::Tensor taken = handed.take();
    place = taken.data_ptr();
    (taken + 1).sum();
  }
  EXPECT_NE(make().data_ptr(), place);
  reader.wait();
  EXPECT_EQ(make().data_ptr(), place);
}

// ---- precision

namespace settings {

long launches = 0, inexact = 0;

using at::Float32Backend;
using at::Float32Op;
using at::Float32Precision;
using at::globalContext;

void look() {
  ++launches;
  inexact +=
      globalContext().float32Precision(Float32Backend::CUDA, Float32Op::CONV) == Float32Precision::TF32;
  inexact += globalContext().allowTF32CuBLAS();
  inexact += globalContext().benchmarkCuDNN();
}

}  // namespace settings

TEST(Precision, Fp32IsNotTf32AndTheProgramsSettingsComeBack) {
  using namespace settings;
  ASSERT_EQ(globalContext().float32Precision(Float32Backend::CUDA, Float32Op::CONV), Float32Precision::TF32)
      << "LibTorch's default has changed";
  globalContext().setFloat32MatmulPrecision("high");
  globalContext().setBenchmarkCuDNN(true);
  const auto on_launch =
      reinterpret_cast<decltype(&fake_gpu_on_launch)>(dlsym(RTLD_DEFAULT, "fake_gpu_on_launch"));
  {
    on_launch(settings::look);
    const FakeGpuCounts begin = counts();
    const Engine engine = open_engine({.precision = "fp32"});
    const Stream stream = open_stream(engine, {});
    next(stream);
    change_prompt(stream, "blue water");
    next(stream);
    on_launch(nullptr);
    EXPECT_EQ(between(begin, counts()).tf32, 0);
  }
  EXPECT_GT(settings::launches, 1000);
  EXPECT_EQ(settings::inexact, 0);
  EXPECT_EQ(globalContext().float32Precision(Float32Backend::CUDA, Float32Op::CONV), Float32Precision::TF32);
  EXPECT_EQ(globalContext().float32MatmulPrecision(), at::Float32MatmulPrecision::HIGH);
  EXPECT_TRUE(globalContext().benchmarkCuDNN());
  globalContext().setFloat32MatmulPrecision("highest");
  globalContext().setBenchmarkCuDNN(false);
}

// ---- the deadline

// A GPU is given work faster than it does it. The governor goes by the GPU's time.
TEST(Deadline, IsKeptByTheTimeOfTheWorkNotOfItsSubmission) {
  const auto launch_seconds =
      reinterpret_cast<decltype(&fake_gpu_launch_seconds)>(dlsym(RTLD_DEFAULT, "fake_gpu_launch_seconds"));
  const Engine engine = open_engine({});
  for (const bool slow : {false, true}) {
    const Stream stream = open_stream(engine, {.cache = "auto"});
    ASSERT_EQ(fc_stream_deadline(stream.get(), 3600), FC_OK);
    launch_seconds(slow ? 10 : 1e-9);  // a chunk of 10,000 kernels takes a day
    for (int i = 0; i < 3; ++i) next(stream);
    launch_seconds(1e-5);
    fc_stream_stats stats = fc_stream_stats_init();
    ASSERT_EQ(fc_stream_get_stats(stream.get(), &stats), FC_OK);
    EXPECT_EQ(stats.governor_level > 0, slow) << stats.governor_level;
    EXPECT_EQ(stats.last_decode_seconds > 100, slow) << stats.last_decode_seconds;
  }
}

}  // namespace
