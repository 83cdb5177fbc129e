// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache-send: one generator, one output that may go away and come back. What pipelines/rtmp.sh and srt.sh
// run.
//
//   flowcache-send NAME RETRIES GENERATOR OUTPUT
//
// GENERATOR and OUTPUT are descriptions as gst-launch-1.0 reads them; relay.h says what they must contain.
// The generator runs from start to end whatever becomes of the output. Ctrl-C ends both in order. Exit status
// 0 if the generator came to its end and the output took it, 1 otherwise, with a sentence.
#include <glib-unix.h>
#include <gst/gst.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "output.h"
#include "relay.h"

namespace {

struct Session {
  GMainLoop* loop = nullptr;
  GstElement* generator = nullptr;
  Output* output = nullptr;
  int status = 0;
  bool interrupted = false, playing = false;
};

void quit(Session* session, const std::string& error) {
  if (!error.empty()) {
    std::fprintf(stderr, "error: %s\n", error.c_str());
    session->status = 1;
  }
  g_main_loop_quit(session->loop);
}

gboolean on_signal(gpointer user) {
  auto* session = static_cast<Session*>(user);
  if (session->interrupted) {
    quit(session, "interrupted twice");
    return G_SOURCE_CONTINUE;
  }
  session->interrupted = true;
  if (!session->playing) quit(session, "interrupted before the first frame");
  gst_element_send_event(session->generator, gst_event_new_eos());
  return G_SOURCE_CONTINUE;
}

gboolean on_generator(GstBus*, GstMessage* message, gpointer user) {
  auto* session = static_cast<Session*>(user);
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
      quit(session, error_text(message));
      break;
    case GST_MESSAGE_EOS:
      session->output->finish();
      break;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(session->generator));
      break;
    case GST_MESSAGE_STATE_CHANGED: {
      GstState state;
      gst_message_parse_state_changed(message, nullptr, &state, nullptr);
      if (GST_MESSAGE_SRC(message) == GST_OBJECT(session->generator) && state == GST_STATE_PLAYING &&
          !std::exchange(session->playing, true))
        session->output->start();
      break;
    }
    default:
      break;
  }
  return G_SOURCE_CONTINUE;
}

int run(const char* name, unsigned retries, const char* generator_text, const char* output_text) {
  g_autoptr(GError) error = nullptr;
  Session session;
  session.generator = gst_parse_launch_full(generator_text, nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (!session.generator) return std::fprintf(stderr, "error: %s\n", error->message), 1;
  gst_object_ref_sink(session.generator);
  session.loop = g_main_loop_new(nullptr, FALSE);
  {
    Relay relay(session.generator);
    Output output({name, output_text, retries}, relay, [&](const std::string& why) { quit(&session, why); });
    session.output = &output;
    g_autoptr(GstBus) bus = gst_element_get_bus(session.generator);
    gst_bus_add_watch(bus, on_generator, &session);
    g_unix_signal_add(SIGINT, on_signal, &session);
    g_unix_signal_add(SIGTERM, on_signal, &session);
    gst_element_set_state(session.generator, GST_STATE_PLAYING);
    g_main_loop_run(session.loop);
    gst_bus_remove_watch(bus);
    gst_element_set_state(session.generator, GST_STATE_NULL);
    const RelayCounts counts = relay.counts();
    std::fprintf(stderr, "%llu frames generated, %llu sent, %llu dropped, connected %u times\n",
                 static_cast<unsigned long long>(counts.generated),
                 static_cast<unsigned long long>(counts.sent),
                 static_cast<unsigned long long>(counts.dropped), output.connections());
  }
  gst_object_unref(session.generator);
  g_main_loop_unref(session.loop);
  return session.status;
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  if (argc != 5) return std::fputs("flowcache-send NAME RETRIES GENERATOR OUTPUT\n", stderr), 2;
  return run(argv[1], static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)), argv[3], argv[4]);
}
