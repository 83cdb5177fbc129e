// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache-rtsp: serves one generation to any number of RTSP viewers. What pipelines/rtsp.sh runs.
//
//   flowcache-rtsp ADDRESS PORT PATH DESCRIPTION
//
// DESCRIPTION is a bin with payloaders pay0, pay1, …, as gst-rtsp-server takes it. The generation begins when
// the first viewer comes, is shared by all viewers and ends when the last one has left. PORT 0 takes a free
// port. The address is printed when the server is ready. Ctrl-C ends it.
#include <glib-unix.h>
#include <gst/rtsp-server/rtsp-server.h>

#include <cstdio>
#include <cstring>

namespace {

constexpr int max_viewers = 100;  // sessions; one more is refused
constexpr guint tidy_seconds = 5;
int viewers = 0;

// A viewer that vanished without a goodbye is removed when its session times out.
gboolean tidy(gpointer server) {
  g_autoptr(GstRTSPSessionPool) pool = gst_rtsp_server_get_session_pool(GST_RTSP_SERVER(server));
  gst_rtsp_session_pool_cleanup(pool);
  return G_SOURCE_CONTINUE;
}

void on_closed(GstRTSPClient*, gpointer) {
  std::fprintf(stderr, "a viewer has left, %d remain\n", --viewers);
}

// Players ask to play from 0 on. A live stream can only be joined where it is now, so the range is removed.
GstRTSPStatusCode on_play(GstRTSPClient*, GstRTSPContext* context, gpointer) {
  gst_rtsp_message_remove_header(context->request, GST_RTSP_HDR_RANGE, -1);
  return GST_RTSP_STS_OK;
}

void on_connected(GstRTSPServer*, GstRTSPClient* client, gpointer) {
  std::fprintf(stderr, "a viewer has come, %d now\n", ++viewers);
  g_signal_connect(client, "pre-play-request", G_CALLBACK(on_play), nullptr);
  g_signal_connect(client, "closed", G_CALLBACK(on_closed), nullptr);
}

void on_error(GstBus*, GstMessage* message, gpointer) {
  g_autoptr(GError) error = nullptr;
  gst_message_parse_error(message, &error, nullptr);
  std::fprintf(stderr, "error: %s\n", error->message);
}

// On an error the media ends, and viewers get no reason. The reason is on its bus, so it is printed from
// there. gst-rtsp-server has the bus's watch, hence the synchronous messages.
void on_media(GstRTSPMediaFactory*, GstRTSPMedia* media, gpointer) {
  g_autoptr(GstElement) element = gst_rtsp_media_get_element(media);
  g_autoptr(GstObject) pipeline = gst_object_get_parent(GST_OBJECT(element));
  if (!pipeline || !GST_IS_PIPELINE(pipeline)) return;
  g_autoptr(GstBus) bus = gst_element_get_bus(GST_ELEMENT(pipeline));
  gst_bus_enable_sync_message_emission(bus);
  g_signal_connect(bus, "sync-message::error", G_CALLBACK(on_error), nullptr);
}

// Ends the generation before the program ends, by removing all viewers and sessions.
void end_viewing(GstRTSPServer* server, GstRTSPSessionPool* pool) {
  const auto remove_client = [](GstRTSPServer*, GstRTSPClient*, gpointer) { return GST_RTSP_FILTER_REMOVE; };
  const auto remove_session = [](GstRTSPSessionPool*, GstRTSPSession*, gpointer) {
    return GST_RTSP_FILTER_REMOVE;
  };
  g_list_free_full(gst_rtsp_server_client_filter(server, remove_client, nullptr), g_object_unref);
  g_list_free_full(gst_rtsp_session_pool_filter(pool, remove_session, nullptr), g_object_unref);
  for (int rounds = 0; rounds < 100 && viewers > 0; ++rounds) {
    g_main_context_iteration(nullptr, FALSE);
    g_usleep(10000);
  }
}

gboolean on_signal(gpointer loop) {
  g_main_loop_quit(static_cast<GMainLoop*>(loop));
  return G_SOURCE_CONTINUE;
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  if (argc != 5) return std::fputs("flowcache-rtsp ADDRESS PORT PATH DESCRIPTION\n", stderr), 2;
  g_autoptr(GMainLoop) loop = g_main_loop_new(nullptr, FALSE);
  g_autoptr(GstRTSPServer) server = gst_rtsp_server_new();
  gst_rtsp_server_set_address(server, argv[1]);
  gst_rtsp_server_set_service(server, argv[2]);

  GstRTSPMediaFactory* factory = gst_rtsp_media_factory_new();
  gst_rtsp_media_factory_set_launch(factory, argv[4]);
  gst_rtsp_media_factory_set_shared(factory, TRUE);
  g_signal_connect(factory, "media-configure", G_CALLBACK(on_media), nullptr);
  g_autoptr(GstRTSPMountPoints) mounts = gst_rtsp_server_get_mount_points(server);
  gst_rtsp_mount_points_add_factory(mounts, argv[3], factory);
  g_autoptr(GstRTSPSessionPool) pool = gst_rtsp_server_get_session_pool(server);
  gst_rtsp_session_pool_set_max_sessions(pool, max_viewers);
  g_signal_connect(server, "client-connected", G_CALLBACK(on_connected), nullptr);

  if (gst_rtsp_server_attach(server, nullptr) == 0)
    return std::fprintf(stderr, "error: %s:%s cannot be listened on: choose another port\n", argv[1],
                        argv[2]),
           1;
  const bool six = std::strchr(argv[1], ':') != nullptr;  // IPv6 addresses are printed in brackets
  std::fprintf(stderr, "serving rtsp://%s%s%s:%d%s\n", six ? "[" : "", argv[1], six ? "]" : "",
               gst_rtsp_server_get_bound_port(server), argv[3]);
  g_timeout_add_seconds(tidy_seconds, tidy, server);
  g_unix_signal_add(SIGINT, on_signal, loop);
  g_unix_signal_add(SIGTERM, on_signal, loop);
  g_main_loop_run(loop);
  end_viewing(server, pool);
  return 0;
}
