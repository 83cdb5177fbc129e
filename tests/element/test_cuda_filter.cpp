// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter with CUDA memory at its pads, on the stand-in driver.
#include "cuda_test.h"
#include "filter_test.h"

using namespace cuda_test;
using filter_test::Filter;

namespace {

constexpr const char* kCudaCaps =
    "video/x-raw(memory:CUDAMemory),format=RGBA,width=64,height=48,framerate=16/1,colorimetry=sRGB";

// The context that the filter offers to its neighbours.
GstCudaContext* context_of(GstElement* element) {
  GstPad* pad = gst_element_get_static_pad(element, "sink");
  GstQuery* query = gst_query_new_context(GST_CUDA_CONTEXT_TYPE);
  GstCudaContext* found = nullptr;
  if (gst_pad_query(pad, query)) {
    GstContext* context = nullptr;
    gst_query_parse_context(query, &context);
    gst_structure_get(gst_context_get_structure(context), GST_CUDA_CONTEXT_TYPE, GST_TYPE_CUDA_CONTEXT,
                      &found, nullptr);
  }
  gst_query_unref(query);
  gst_object_unref(pad);
  return found;
}

// Pushes grey frames in memory of this context.
void push_cuda(Filter& filter, GstCudaContext* context, int frames) {
  GstVideoInfo info;
  GstCaps* caps = gst_caps_from_string(kCudaCaps);
  gst_video_info_from_caps(&info, caps);
  GstBufferPool* pool = gst_cuda_buffer_pool_new(context);
  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, static_cast<guint>(info.size), 0, 0);
  gst_buffer_pool_set_config(pool, config);
  gst_buffer_pool_set_active(pool, TRUE);
  for (int i = 0; i < frames; ++i) {
    GstBuffer* buffer = nullptr;
    gst_buffer_pool_acquire_buffer(pool, &buffer, nullptr);
    GstVideoFrame frame;
    ASSERT_TRUE(gst_video_frame_map(&frame, &info, buffer, GST_MAP_WRITE));
    auto* row = static_cast<guint8*>(GST_VIDEO_FRAME_PLANE_DATA(&frame, 0));
    std::fill_n(row, 64 * 4, static_cast<guint8>(i));
    gst_video_frame_unmap(&frame);
    ASSERT_TRUE(
        gst_video_frame_map(&frame, &info, buffer, static_cast<GstMapFlags>(GST_MAP_READ | GST_MAP_CUDA)));
    gst_video_frame_unmap(&frame);  // it is on the device now
    GST_BUFFER_PTS(buffer) = static_cast<GstClockTime>(i) * kFrame;
    filter.push(buffer);
  }
  gst_buffer_pool_set_active(pool, FALSE);
  gst_object_unref(pool);
  gst_caps_unref(caps);
}

void expect_frames(Filter& filter, int frames) {
  for (int i = 0; i < frames; ++i) {
    const filter_test::SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << i;
    EXPECT_EQ(filter_test::fed_of(sample), i);
    EXPECT_EQ(look_at(sample.get()).number, static_cast<uint32_t>(i));
  }
}

TEST_F(Cuda, AFilterFeedsAnEngineOnTheDeviceFromItsOwnMemory) {
  ASSERT_TRUE(gst_cuda_load_library());
  const int fed = element_test::fake().fed_from_cuda();
  Filter filter("model=fake:cuda=1", kCudaCaps);
  GstCudaContext* context = context_of(filter.element());
  ASSERT_NE(context, nullptr) << "the filter offers its context";
  push_cuda(filter, context, 8);
  expect_frames(filter, 8);
  EXPECT_EQ(element_test::fake().fed_from_cuda() - fed, 8);
  filter.stop();
  gst_object_unref(context);
}

TEST_F(Cuda, AFilterBringsWhatIsElsewhereToTheHost) {
  ASSERT_TRUE(gst_cuda_load_library());
  const int fed = element_test::fake().fed_from_cuda();
  GstCudaContext* foreign = gst_cuda_context_new(0);
  for (const char* model : {"model=fake:cuda=1", "model=fake"}) {  // another context; an engine on the CPU
    Filter filter(model, kCudaCaps);
    push_cuda(filter, foreign, 8);
    expect_frames(filter, 8);
  }
  EXPECT_EQ(element_test::fake().fed_from_cuda(), fed);
  gst_object_unref(foreign);
}

TEST_F(Cuda, AFilterWritesCudaMemoryForWhoeverNamesIt) {
  NEEDS_NVCODEC();
  Filter filter("model=fake:cuda=1", filter_test::kRgba, false, " ! " + in_cuda("RGBA"));
  filter.push_frames(0, 8);
  expect_frames(filter, 8);
  EXPECT_EQ(path_of(filter.element()), "cuda");
}

}  // namespace
