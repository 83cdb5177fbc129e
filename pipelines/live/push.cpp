// SPDX-License-Identifier: LGPL-2.1-or-later
// RTMP and SRT: a pipeline from the H.264 tap to a sink of GStreamer's.
#include "outputs.h"

namespace flowcache::live {
namespace {

class Push : public Output {
 public:
  /// `line` ends in a sink of the name "sink", whose `property` takes the address.
  Push(const char* name, const std::string& address, std::string line, const char* property,
       Generator& generator, const Tell& tell)
      : Output(name, address, tell),
        address_(address),
        line_(std::move(line)),
        property_(property),
        generator_(generator) {}
  ~Push() override { close(); }

 protected:
  std::string open() override;
  void close() override;
  std::pair<guint64, guint64> frames() const override {
    return consumer_ ? std::pair{consumer_->sent(), consumer_->dropped()} : std::pair<guint64, guint64>{0, 0};
  }

 private:
  static gboolean on_bus(GstBus*, GstMessage* message, gpointer self);
  /// Frames that reach the sink are proof of a connection only once the next one does: a sink connects at the
  /// first.
  static GstPadProbeReturn on_buffer(GstPad*, GstPadProbeInfo*, gpointer self);

  const std::string address_, line_;
  const char* const property_;
  Generator& generator_;
  GstPtr<GstElement> pipeline_;
  std::shared_ptr<Tap::Consumer> consumer_;
  std::shared_ptr<Push*> alive_;  // of the present attempt
  unsigned passed_ = 0;           // buffers that reached the sink
};

std::string Push::open() {
  std::string error;
  pipeline_ = make_pipeline(line_, generator_.base_time(), &error);
  if (!pipeline_) return error;
  GstElement* sink = child(pipeline_.get(), "sink");
  g_object_set(sink, property_, address_.c_str(), nullptr);
  GstElement* source = child(pipeline_.get(), "source");
  // Muxers wait for the video that long before they go on with the sound alone.
  g_object_set(source, "min-latency", static_cast<gint64>(generator_.latency()), nullptr);
  alive_ = std::make_shared<Push*>(this);
  passed_ = 0;
  const GstPtr<GstPad> pad(gst_element_get_static_pad(sink, "sink"));
  const auto type = static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST);
  gst_pad_add_probe(pad.get(), type, on_buffer, new std::weak_ptr<Push*>(alive_),
                    [](gpointer data) { delete static_cast<std::weak_ptr<Push*>*>(data); });
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline_.get()));
  gst_bus_add_watch(bus.get(), on_bus, this);
  consumer_ = generator_.h264().attach(source);
  gst_element_call_async(
      pipeline_.get(),
      [](GstElement* pipeline, gpointer) { gst_element_set_state(pipeline, GST_STATE_PLAYING); }, nullptr,
      nullptr);
  return "";
}

void Push::close() {
  alive_.reset();
  if (consumer_) generator_.h264().detach(consumer_);
  consumer_.reset();
  stop_later(std::move(pipeline_));
}

gboolean Push::on_bus(GstBus*, GstMessage* message, gpointer data) {
  auto* self = static_cast<Push*>(data);
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR: {
      GError* error = nullptr;
      gst_message_parse_error(message, &error, nullptr);
      self->broken(take_message(error));
      return G_SOURCE_REMOVE;
    }
    case GST_MESSAGE_EOS:
      self->broken("the other side has closed the connection");
      return G_SOURCE_REMOVE;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(self->pipeline_.get()));
      return G_SOURCE_CONTINUE;
    default:
      return G_SOURCE_CONTINUE;
  }
}

GstPadProbeReturn Push::on_buffer(GstPad*, GstPadProbeInfo*, gpointer data) {
  auto* weak = static_cast<std::weak_ptr<Push*>*>(data);
  on_main([alive = *weak] {
    const auto self = alive.lock();
    if (self && ++(*self)->passed_ == 16) (*self)->started();
  });
  return GST_PAD_PROBE_OK;
}

}  // namespace

std::unique_ptr<Output> make_rtmp(const std::string& url, Generator& generator, const Output::Tell& tell) {
  // Most servers want a sound track, so silence goes with it.
  const std::string line =
      "appsrc name=source is-live=true format=time max-bytes=0 ! h264parse ! flvmux name=mux streamable=true "
      "! "
      "rtmp2sink name=sink sync=false audiotestsrc is-live=true wave=silence samplesperbuffer=1024 ! "
      "audio/x-raw,rate=48000,channels=2 ! audioconvert ! avenc_aac bitrate=64000 ! queue "
      "max-size-time=500000000 "
      "leaky=downstream ! mux.";
  return std::make_unique<Push>("rtmp", url, line, "location", generator, tell);
}

std::unique_ptr<Output> make_srt(const std::string& url, Generator& generator, const Output::Tell& tell) {
  const std::string line =
      "appsrc name=source is-live=true format=time max-bytes=0 ! h264parse config-interval=-1 ! "
      "mpegtsmux alignment=7 ! srtsink name=sink sync=false wait-for-connection=false";
  return std::make_unique<Push>("srt", url, line, "uri", generator, tell);
}

}  // namespace flowcache::live
