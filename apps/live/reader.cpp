// SPDX-License-Identifier: LGPL-2.1-or-later
#include "reader.h"

#include <algorithm>
#include <utility>

namespace flowcache::live {
namespace {

// A ball that moves: one sees whether it stands still.
constexpr const char* test_line = "videotestsrc is-live=true pattern=ball";
constexpr unsigned network_latency_ms = 200;

// Sound is not decoded.
int select_video(GstElement*, GstStreamCollection*, GstStream* stream, gpointer) {
  return (gst_stream_get_stream_type(stream) & GST_STREAM_TYPE_VIDEO) != 0 ? 1 : 0;
}

// rtspsrc would wait two seconds for packets that are late.
void set_up_source(GstElement*, GstElement* source, gpointer) {
  const GstElementFactory* factory = gst_element_get_factory(source);
  if (factory != nullptr && g_strcmp0(GST_OBJECT_NAME(factory), "rtspsrc") == 0)
    g_object_set(source, "latency", network_latency_ms, nullptr);
}

void remove(guint& source) {
  if (source != 0) g_source_remove(std::exchange(source, 0));
}

}  // namespace

Reader::Reader(std::string address, std::shared_ptr<FrameFeeder> feeder, Events events)
    : address_(std::move(address)), feeder_(std::move(feeder)), events_(std::move(events)) {}

Reader::~Reader() {
  remove(retry_);
  close();
}

std::string Reader::start() {
  return open();
}

std::string Reader::open() {
  const bool test = address_ == "test";
  std::string error;
  pipeline_ =
      make_pipeline(std::string(test ? test_line : "uridecodebin3 name=decoder decoder. ! deinterlace") +
                        " ! " + Intake::line(feeder_->caps(), /*clock=*/true),
                    0, &error);
  if (!pipeline_) return error;
  gst_element_set_start_time(pipeline_.get(), 0);  // its running time begins when it plays
  if (!test) {
    GstElement* decoder = child(pipeline_.get(), "decoder");
    g_signal_connect(decoder, "select-stream", G_CALLBACK(select_video), nullptr);
    g_signal_connect(decoder, "source-setup", G_CALLBACK(set_up_source), nullptr);
    g_object_set(decoder, "uri", address_.c_str(), nullptr);
  }
  intake_ = std::make_unique<Intake>(pipeline_.get(), feeder_);
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline_.get()));
  gst_bus_add_watch(bus.get(), on_bus, this);
  opened_ = last_seen_ = g_get_monotonic_time();
  seen_ = 0;
  timer_ = g_timeout_add(
      500,
      [](gpointer self) -> gboolean {
        static_cast<Reader*>(self)->look();
        return G_SOURCE_CONTINUE;
      },
      this);
  gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);  // a failure is told on the bus
  return "";
}

void Reader::close() {
  remove(timer_);
  intake_.reset();
  stop_later(std::move(pipeline_));
}

void Reader::again(unsigned milliseconds) {
  close();
  remove(retry_);
  retry_ = after(milliseconds, [this] {
    retry_ = 0;
    if (const std::string problem = open(); !problem.empty()) broken(problem);
  });
}

void Reader::look() {
  const gint64 now = g_get_monotonic_time();
  if (std::exchange(seen_, intake_->frames()) != intake_->frames()) {
    last_seen_ = now;
    ever_ = true;
    lost_ = false;
    failures_ = 0;
  }
  // A file that is read once more may hang in uridecodebin3, seldom; then it is opened again sooner.
  const bool file = address_.rfind("file:", 0) == 0 && ever_ && failures_ == 0;
  const gint64 most = file ? patience_with_file : patience;
  if (now - last_seen_ > most) lose("no picture came for " + std::to_string(most / G_USEC_PER_SEC) + " s");
}

void Reader::broken(const std::string& why) {
  ever_ = ever_ || (intake_ && intake_->frames() > 0);
  if (ever_) return lose(why);
  close();
  events_.failed(why);
}

void Reader::lose(const std::string& why) {
  if (!std::exchange(lost_, true)) events_.lost(why);
  again(1000 * std::min(longest_delay, 1U << std::min(failures_++, 4U)));
}

gboolean Reader::on_bus(GstBus*, GstMessage* message, gpointer data) {
  auto* self = static_cast<Reader*>(data);
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    self->broken(error_text(message));
    return G_SOURCE_REMOVE;
  }
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_LATENCY)
    gst_bin_recalculate_latency(GST_BIN(self->pipeline_.get()));
  if (GST_MESSAGE_TYPE(message) != GST_MESSAGE_EOS) return G_SOURCE_CONTINUE;
  if (self->intake_->frames() == 0) {
    self->broken("it ends without a picture");
    return G_SOURCE_REMOVE;
  }
  // At once, but not more than once a second: it may be a single picture.
  self->ever_ = true;
  const gint64 played = (g_get_monotonic_time() - self->opened_) / 1000;
  self->again(static_cast<unsigned>(std::max<gint64>(0, 1000 - played)));
  return G_SOURCE_REMOVE;
}

}  // namespace flowcache::live
