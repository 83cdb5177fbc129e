// SPDX-License-Identifier: LGPL-2.1-or-later
#include "push.h"

#include <algorithm>
#include <utility>

namespace flowcache {
namespace {

// A sink connects when its first buffers come, and up to four of them may be headers of an FLV stream. When
// this many buffers have reached the sink, it is connected and takes them.
constexpr unsigned on_air_after = 8;

GstPadProbeReturn count(GstPad*, GstPadProbeInfo*, gpointer passed) {
  ++**static_cast<std::shared_ptr<std::atomic<unsigned>>*>(passed);
  return GST_PAD_PROBE_OK;
}

void play(GstElement* pipeline, gpointer) {
  gst_element_set_state(pipeline, GST_STATE_PLAYING);  // a failure is told on the bus
}

}  // namespace

Push::Push(Config config, Events events, std::string line, const Streams& streams)
    : Output(std::move(config), std::move(events)), line_(std::move(line)), streams_(streams) {}

std::string Push::open() {
  std::string error;
  pipeline_ = make_pipeline(line_, gst_element_get_base_time(streams_.generator), &error);
  if (!pipeline_) return error;
  passed_ = std::make_shared<std::atomic<unsigned>>(0);
  const GstPtr<GstPad> pad(gst_element_get_static_pad(child(pipeline_.get(), "sink"), "sink"));
  const auto type = static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST);
  gst_pad_add_probe(pad.get(), type, count, new Passed(passed_),
                    [](gpointer passed) { delete static_cast<Passed*>(passed); });
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline_.get()));
  gst_bus_add_watch(bus.get(), on_bus, this);
  video_ = streams_.video->attach(child(pipeline_.get(), "video"), latency());
  if (streams_.sound != nullptr) {
    sound_ = streams_.sound->attach(child(pipeline_.get(), "audio"), latency(), video_);
  }
  gst_element_call_async(pipeline_.get(), play, nullptr, nullptr);
  return "";
}

void Push::close() {
  before_ = {frames().sent, frames().dropped};
  if (video_) streams_.video->detach(std::exchange(video_, nullptr));
  if (sound_) streams_.sound->detach(std::exchange(sound_, nullptr));
  stop_later(std::move(pipeline_));
}

void Push::drain() {
  draining_ = true;
  for (const char* name : {"video", "audio"}) {
    const GstPtr<GstElement> source(gst_bin_get_by_name(GST_BIN(pipeline_.get()), name));
    if (source) gst_app_src_end_of_stream(GST_APP_SRC(source.get()));
  }
}

void Push::look() {
  if (*passed_ >= on_air_after) started();
  if (video_) video_->set_latency(latency());
  if (sound_) sound_->set_latency(latency());
}

OutputFrames Push::frames() const {
  if (!video_) return before_;
  return {before_.sent + video_->sent(), before_.dropped + video_->dropped(), video_->waiting(),
          video_->stalled()};
}

// How long a muxer waits for a track before it goes on without it. It has to be the larger latency of the
// two: a track that comes after that would make the timestamps go back.
GstClockTime Push::latency() const {
  const GstClockTime video = streams_.video->latency();
  return streams_.sound == nullptr ? video : std::max(video, streams_.sound->latency());
}

gboolean Push::on_bus(GstBus*, GstMessage* message, gpointer data) {
  auto* self = static_cast<Push*>(data);
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
      self->broken(error_text(message));  // removes this watch
      return G_SOURCE_CONTINUE;
    case GST_MESSAGE_EOS:
      if (self->draining_) {
        self->finished();
      } else {
        self->broken("the other side has closed the connection");
      }
      return G_SOURCE_CONTINUE;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(self->pipeline_.get()));
      return G_SOURCE_CONTINUE;
    default:
      return G_SOURCE_CONTINUE;
  }
}

}  // namespace flowcache
