// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-overhead [--frames 6000]
//
// What the element adds to the engine: frames through flowcachesrc and into fakesink as fast as they come, on
// an engine that costs nothing (tests/fake), minus the same frames from that engine alone. Processor time, so
// that what else runs on the machine does not count. In relation to the time that a chunk plays.
#include <gst/gst.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "../../gst-plugin/engine.h"

namespace {

constexpr const char* kModel = "fake:width=320,height=192,fps_n=16,frames=12,blank=1";
constexpr double kFps = 16, kFramesPerChunk = 12;

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench-overhead: %s\n", why.c_str());
  std::exit(1);
}

// Processor seconds for these frames at the pad.
double element_seconds(long frames) {
  const std::string line = "flowcachesrc is-live=false num-buffers=" + std::to_string(frames) +
                           " model=" + kModel + " ! fakesink sync=false";
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch(line.c_str(), &error);
  if (error != nullptr) give_up(error->message);
  GstBus* bus = gst_element_get_bus(pipeline);
  const double start = processor_seconds();
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  GstMessage* message = gst_bus_timed_pop_filtered(
      bus, GST_CLOCK_TIME_NONE, static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  const double seconds = processor_seconds() - start;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) give_up("the pipeline failed");
  gst_message_unref(message);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(pipeline);
  return seconds;
}

// Processor seconds for these frames from the engine alone.
double engine_seconds(long frames) {
  std::string error;
  const auto* library = flowcache::gst::EngineLibrary::open(&error);
  if (library == nullptr) give_up(error);
  fc_engine_config engine_config{};
  engine_config.size = sizeof engine_config;
  engine_config.model = kModel;
  fc_stream_config stream_config{};
  stream_config.size = sizeof stream_config;
  fc_engine* engine = nullptr;
  fc_stream* stream = nullptr;
  if (library->engine_open(&engine_config, nullptr, nullptr, &engine) != FC_OK ||
      library->stream_open(engine, &stream_config, &stream) != FC_OK) {
    give_up(library->last_error());
  }
  std::vector<unsigned char> pixels(320 * 192 * 4);
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.format = FC_FORMAT_NV12;
  planes.plane[0] = planes.plane[1] = pixels.data();
  planes.stride[0] = planes.stride[1] = 320;
  const double start = processor_seconds();
  for (long done = 0; done < frames; done += static_cast<long>(kFramesPerChunk)) {
    fc_chunk* chunk = nullptr;
    if (library->stream_next(stream, &chunk) != FC_OK) give_up(library->last_error());
    for (unsigned i = 0; i < kFramesPerChunk; ++i) library->chunk_write(chunk, i, &planes);
    library->chunk_unref(chunk);
  }
  const double seconds = processor_seconds() - start;
  library->stream_close(stream);
  library->engine_unref(engine);
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  const long frames = argc == 3 && std::string(argv[1]) == "--frames" ? std::atol(argv[2])
                      : argc == 1                                     ? 6000
                                                                      : 0;
  if (frames < 120) {
    std::fprintf(stderr, "bench-overhead [--frames N >= 120]\n");
    return 2;
  }
  g_setenv("GST_PLUGIN_PATH", FLOWCACHE_BUILD_DIR "/gst-plugin", TRUE);
  g_setenv("GST_REGISTRY", FLOWCACHE_BUILD_DIR "/tests/bench/registry.bin", TRUE);
  g_setenv("FLOWCACHE_ENGINE", FLOWCACHE_BUILD_DIR "/tests/fake/libflowcache-fake.so", TRUE);
  gst_init(nullptr, nullptr);
  element_seconds(120);  // loads everything
  const double element = element_seconds(frames), engine = engine_seconds(frames);
  const double frame = (element - engine) / static_cast<double>(frames);
  const double chunk_plays = kFramesPerChunk / kFps;
  std::printf("element minus engine: %.1f us of processor time a frame (%.1f - %.1f), %ld frames\n",
              frame * 1e6, element / static_cast<double>(frames) * 1e6,
              engine / static_cast<double>(frames) * 1e6, frames);
  std::printf("a chunk of %.0f frames plays %.0f ms, its overhead is %.3f %% of that\n", kFramesPerChunk,
              chunk_plays * 1e3, 100 * frame * kFramesPerChunk / chunk_plays);
  return 0;
}
