// SPDX-License-Identifier: LGPL-2.1-or-later
// A GStreamer application that takes generated frames from an appsink; prompts are typed while it plays:
//
//   c++ -std=c++20 -o terminal terminal.cpp $(pkg-config --cflags --libs gstreamer-{app,video}-1.0)
//   ./terminal "calm ocean"        then type another prompt and press return; an empty line or Ctrl-D ends it
//
// The picture is drawn in the terminal, two pixels a character; where the output is no terminal, a line a
// second tells the mean colour.
#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>

// Upper half blocks: the character's colour is the upper pixel, its background the lower one.
static void draw(const uint8_t* rgba, int width, int height, int stride) {
  std::string text = "\x1b[s\x1b[H";  // remember the cursor, go to the top
  char cell[64];
  for (int y = 0; y + 1 < height; y += 2) {
    for (int x = 0; x < width; ++x) {
      const uint8_t *upper = rgba + y * stride + 4 * x, *lower = upper + stride;
      std::snprintf(cell, sizeof cell, "\x1b[38;2;%d;%d;%dm\x1b[48;2;%d;%d;%dm▀", upper[0], upper[1],
                    upper[2], lower[0], lower[1], lower[2]);
      text += cell;
    }
    text += "\x1b[0m\n";
  }
  text += "\x1b[u";
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

static void tell(const uint8_t* rgba, int width, int height, int stride) {
  long sum[3] = {};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int i = 0; i < 3; ++i) sum[i] += rgba[y * stride + 4 * x + i];
  const long pixels = long(width) * height;
  std::printf("mean colour #%02lx%02lx%02lx\n", sum[0] / pixels, sum[1] / pixels, sum[2] / pixels);
  std::fflush(stdout);
}

// Called by the streaming thread for every frame.
static GstFlowReturn on_frame(GstAppSink* sink, gpointer) {
  static int number = 0;
  g_autoptr(GstSample) sample = gst_app_sink_pull_sample(sink);
  GstVideoInfo info;
  GstVideoFrame frame;
  if (!sample || !gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) ||
      !gst_video_frame_map(&frame, &info, gst_sample_get_buffer(sample), GST_MAP_READ))
    return GST_FLOW_ERROR;
  const auto* pixels = static_cast<const uint8_t*>(GST_VIDEO_FRAME_PLANE_DATA(&frame, 0));
  const int stride = GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);
  if (isatty(STDOUT_FILENO))
    draw(pixels, info.width, info.height, stride);
  else if (number++ % std::max(1, info.fps_n / info.fps_d) == 0)
    tell(pixels, info.width, info.height, stride);
  gst_video_frame_unmap(&frame);
  return GST_FLOW_OK;
}

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  g_autoptr(GError) error = nullptr;
  g_autoptr(GstElement) pipeline = gst_parse_launch(
      "flowcachesrc name=source ! queue ! videoconvert ! videoscale ! "
      "video/x-raw,format=RGBA,width=80,height=48,pixel-aspect-ratio=1/1 ! appsink name=frames",
      &error);
  if (error) return std::fprintf(stderr, "terminal: %s\n", error->message), 1;
  g_autoptr(GstElement) source = gst_bin_get_by_name(GST_BIN(pipeline), "source");
  g_autoptr(GstElement) frames = gst_bin_get_by_name(GST_BIN(pipeline), "frames");
  g_object_set(source, "prompt", argc > 1 ? argv[1] : "calm ocean", nullptr);
  GstAppSinkCallbacks callbacks{};
  callbacks.new_sample = on_frame;
  gst_app_sink_set_callbacks(GST_APP_SINK(frames), &callbacks, nullptr, nullptr);
  if (isatty(STDOUT_FILENO)) std::printf("\x1b[2J\x1b[26H");  // clear; prompts are typed below the picture
  gst_element_set_state(pipeline, GST_STATE_PLAYING);

  // Any thread may set the prompt: it holds from the next chunk on, blended in over two.
  gst_object_ref(source);
  gst_object_ref(pipeline);
  std::thread typing([source, pipeline] {
    for (std::string line; std::getline(std::cin, line) && !line.empty();) {
      gboolean taken = FALSE;
      g_signal_emit_by_name(source, "set-prompt", line.c_str(), 2u, GST_CLOCK_TIME_NONE, &taken);
      if (!taken) std::fprintf(stderr, "the old prompt stays\n");
    }
    gst_element_send_event(pipeline, gst_event_new_eos());
  });
  typing.detach();  // it may wait for a line when the stream ends with an error, so its references stay

  g_autoptr(GstBus) bus = gst_element_get_bus(pipeline);
  g_autoptr(GstMessage) end = gst_bus_timed_pop_filtered(bus, GST_CLOCK_TIME_NONE,
                                                         GstMessageType(GST_MESSAGE_ERROR | GST_MESSAGE_EOS));
  if (GST_MESSAGE_TYPE(end) == GST_MESSAGE_ERROR) {
    gst_message_parse_error(end, &error, nullptr);
    std::fprintf(stderr, "terminal: %s\n", error->message);
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  return error ? 1 : 0;
}
