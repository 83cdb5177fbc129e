// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache-send: one generator and one output, whose receiver may go away and come back. pipelines/rtmp.sh
// and srt.sh run it.
//
//   flowcache-send ADDRESS RETRIES GENERATOR OUTPUT
//
// ADDRESS is shown in messages. GENERATOR and OUTPUT are pipelines as gst-launch-1.0 reads them. GENERATOR
// ends in an appsink "video" and, if there is sound, an appsink "audio"; push.h says what OUTPUT is. The
// generator runs to its end even if the output fails meanwhile. Ctrl-C ends both in order. The exit status is
// 0 if the generator came to its end and the output took everything, otherwise 1, with a sentence on stderr.
#include <glib-unix.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "push.h"

namespace flowcache {
namespace {

class Send {
 public:
  explicit Send(const char* address, unsigned retries) : config_{"", address, retries} {}
  ~Send();
  // Returns false, with a sentence on stderr, if a pipeline is wrong.
  bool start(const char* generator, const char* output);
  // What main() returns.
  int run();

 private:
  static gboolean on_signal(gpointer self);
  static gboolean on_bus(GstBus*, GstMessage* message, gpointer self);
  void quit(const std::string& error);

  const Output::Config config_;
  GMainLoop* const loop_ = g_main_loop_new(nullptr, FALSE);
  GstPtr<GstElement> generator_;
  std::unique_ptr<Tap> video_, sound_;
  std::unique_ptr<Push> push_;
  bool interrupted_ = false;
  int status_ = 0;
};

Send::~Send() {
  push_.reset();
  if (generator_) {
    const GstPtr<GstBus> bus(gst_element_get_bus(generator_.get()));
    gst_bus_remove_watch(bus.get());
    gst_element_set_state(generator_.get(), GST_STATE_NULL);
  }
  wait_for_stops(3000);
  video_.reset();
  sound_.reset();
  g_main_loop_unref(loop_);
}

bool Send::start(const char* generator, const char* output) {
  std::string error;
  const GstPtr<GstClock> clock(gst_system_clock_obtain());
  generator_ = make_pipeline(generator, gst_clock_get_time(clock.get()), &error);
  if (!generator_) {
    quit(error);
    return false;
  }
  const GstPtr<GstElement> sound(gst_bin_get_by_name(GST_BIN(generator_.get()), "audio"));
  video_ = std::make_unique<Tap>(child(generator_.get(), "video"), nullptr, [this] {
    if (push_) push_->start();
  });
  if (sound) sound_ = std::make_unique<Tap>(sound.get(), nullptr);
  const Output::Events events{
      [](const std::string&, const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); },
      [this](const std::string& why) { quit(why); }};
  push_ =
      std::make_unique<Push>(config_, events, output, Streams{generator_.get(), video_.get(), sound_.get()});
  const GstPtr<GstBus> bus(gst_element_get_bus(generator_.get()));
  gst_bus_add_watch(bus.get(), on_bus, this);
  gst_element_set_state(generator_.get(), GST_STATE_PLAYING);  // a failure is told on the bus
  return true;
}

int Send::run() {
  g_unix_signal_add(SIGINT, on_signal, this);
  g_unix_signal_add(SIGTERM, on_signal, this);
  g_main_loop_run(loop_);
  std::fprintf(stderr, "%llu frames generated, %llu sent, connected %u times\n",
               static_cast<unsigned long long>(video_->frames()),
               static_cast<unsigned long long>(push_->frames().sent), push_->connections());
  return status_;
}

void Send::quit(const std::string& error) {
  if (!error.empty()) {
    std::fprintf(stderr, "error: %s\n", error.c_str());
    status_ = 1;
  }
  g_main_loop_quit(loop_);
}

gboolean Send::on_signal(gpointer data) {
  auto* self = static_cast<Send*>(data);
  if (self->interrupted_) {
    self->quit("interrupted twice");
  } else if (self->video_->frames() == 0) {
    self->quit("interrupted before the first frame");
  } else {
    gst_element_send_event(self->generator_.get(), gst_event_new_eos());
  }
  self->interrupted_ = true;
  return G_SOURCE_CONTINUE;
}

gboolean Send::on_bus(GstBus*, GstMessage* message, gpointer data) {
  auto* self = static_cast<Send*>(data);
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
      self->quit(error_text(message));
      break;
    case GST_MESSAGE_EOS:
      self->push_->finish();
      break;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(self->generator_.get()));
      break;
    default:
      break;
  }
  return G_SOURCE_CONTINUE;
}

}  // namespace
}  // namespace flowcache

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  if (argc != 5) return std::fputs("flowcache-send ADDRESS RETRIES GENERATOR OUTPUT\n", stderr), 2;
  flowcache::Send send(argv[1], static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)));
  return send.start(argv[3], argv[4]) ? send.run() : 1;
}
