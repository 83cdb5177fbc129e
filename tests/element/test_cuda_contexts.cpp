// SPDX-License-Identifier: LGPL-2.1-or-later
// CUDA contexts: which are shared, and when they are released.
#include "cuda_test.h"

using namespace cuda_test;

namespace {

TEST_F(Cuda, DownstreamSharesTheEnginesContext) {
  NEEDS_NVCODEC();
  const Played played = play("model=fake:cuda=1", in_cuda("NV12"));
  EXPECT_EQ(played.contexts, contexts_ + 1);
}

TEST_F(Cuda, ForeignContextCostsOneCopyOneWarningAndIsCounted) {
  NEEDS_NVCODEC();
  ASSERT_TRUE(gst_cuda_load_library());
  GstCudaContext* foreign = gst_cuda_context_new(0);
  ASSERT_NE(foreign, nullptr);
  GstContext* context = gst_context_new_cuda_context(foreign);
  const int copies = ask("fake_cuda_copies_on_device");
  const Played played = play("model=fake:cuda=1", in_cuda("NV12"), context);
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda-copy");
  EXPECT_EQ(played.context_copies, 9u);
  EXPECT_EQ(played.warnings, 1);
  EXPECT_EQ(ask("fake_cuda_copies_on_device") - copies, 2 * 9);  // two planes
  gst_context_unref(context);
  gst_object_unref(foreign);
}

// Acts as an encoder that was opened before the source: it has a context of its own and offers a pool of it.
GstPadProbeReturn offer_own_pool(GstPad*, GstPadProbeInfo* info, gpointer context) {
  GstQuery* query = GST_PAD_PROBE_INFO_QUERY(info);
  if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION) return GST_PAD_PROBE_OK;
  GstBufferPool* pool = gst_cuda_buffer_pool_new(GST_CUDA_CONTEXT(context));
  gst_query_add_allocation_pool(query, pool, 64 * 48 * 3 / 2, 2, 0);
  gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr);
  gst_object_unref(pool);
  return GST_PAD_PROBE_HANDLED;
}

TEST_F(Cuda, DownstreamsPoolIsUsedAlsoOfAnotherContext) {
  ASSERT_TRUE(gst_cuda_load_library());
  GstCudaContext* foreign = gst_cuda_context_new(0);
  {
    Source source("model=fake:cuda=1", "video/x-raw(memory:CUDAMemory),format=NV12");
    gst_pad_add_probe(
        source.harness()->sinkpad,
        static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH),
        offer_own_pool, foreign, nullptr);
    source.play();
    for (uint32_t i = 0; i < 3; ++i) {
      const BufferPtr buffer(source.pull());
      ASSERT_TRUE(buffer);
      GstMemory* memory = gst_buffer_peek_memory(buffer.get(), 0);
      ASSERT_TRUE(gst_is_cuda_memory(memory));
      EXPECT_EQ(GST_CUDA_MEMORY_CAST(memory)->context, foreign);
      EXPECT_EQ(look_at(buffer.get(), source.info()).number, i);
    }
    EXPECT_GE(stat(source.element(), "context-copies"), 3u);
  }
  gst_object_unref(foreign);
}

TEST_F(Cuda, ForeignContextIsNothingToAnEngineOnTheCpu) {
  NEEDS_NVCODEC();
  GstCudaContext* foreign = gst_cuda_context_new(0);
  GstContext* context = gst_context_new_cuda_context(foreign);
  const Played played = play("model=fake", in_cuda("NV12"), context);
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda-upload");
  EXPECT_EQ(played.context_copies, 0u);
  EXPECT_EQ(played.warnings, 0);
  gst_context_unref(context);
  gst_object_unref(foreign);
}

TEST_F(Cuda, ModelOnTheCpuMakesNoContextForNobody) {
  Source source("model=fake device=cpu");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(ask("fake_cuda_live_contexts"), contexts_);
}

TEST_F(Cuda, TwentyRestartsLeaveNothing) {
  NEEDS_NVCODEC();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(run_to_end("flowcachesrc model=fake:cuda=1 is-live=false num-buffers=3 ! "
                         "video/x-raw(memory:CUDAMemory) ! cudadownload ! fakesink"),
              "");
    expect_nothing_left();
    if (HasFailure()) return;
  }
}

// Restarts one element several times through READY. In between it may hold only its context.
TEST_F(Cuda, RestartsOfOneElement) {
  Source source("model=fake:cuda=1", "video/x-raw(memory:CUDAMemory)");
  for (int i = 0; i < 5; ++i) {
    source.play();
    ASSERT_TRUE(BufferPtr(source.pull()));
    gst_element_set_state(source.element(), GST_STATE_READY);
    while (BufferPtr left{gst_harness_try_pull(source.harness())}) {
    }
  }
}

// A buffer that exists longer than the element keeps the context of its memory.
TEST_F(Cuda, BufferMayOutliveTheElement) {
  BufferPtr kept;
  {
    Source source("model=fake:cuda=1", "video/x-raw(memory:CUDAMemory)");
    source.play();
    kept.reset(source.pull());
    ASSERT_TRUE(kept);
  }
  EXPECT_EQ(ask("fake_cuda_live_contexts"), contexts_ + 1);
  EXPECT_GE(ask("fake_cuda_live_allocations"), 1);
}

}  // namespace
