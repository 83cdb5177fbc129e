// SPDX-License-Identifier: LGPL-2.1-or-later
#include "live.h"

#include <glib-unix.h>

#include <algorithm>
#include <cstdio>

namespace flowcache::live {
namespace {

gboolean quit(gpointer loop) {
  g_main_loop_quit(static_cast<GMainLoop*>(loop));
  return G_SOURCE_CONTINUE;
}

}  // namespace

Live::Live(const Options& options)
    : options_(options),
      generator_(options, *this),
      metrics_(!options.input.empty()),
      commands_(generator_, feed_),
      server_(*this, options),
      loop_(g_main_loop_new(nullptr, FALSE)) {}

Live::~Live() {
  g_main_loop_unref(loop_);
}

bool Live::start() {
  std::string error;
  if (!server_.listen(&error) || !generator_.start(&error)) {
    std::fprintf(stderr, "error: %s\n", error.c_str());
    return false;
  }
  const auto tell = [this](const std::string& level, const std::string& text) { notice(level, text); };
  if (!options_.input.empty()) {
    input_ =
        std::make_unique<Input>(options_.input, generator_.feeder(),
                                Input::Events{tell, [this](const std::string& why) { on_failure(why); }});
    if (error = input_->start(); !error.empty()) {
      std::fprintf(stderr, "error: %s\n", error.c_str());
      return false;
    }
  }
  outputs_.make(options_, generator_, {tell, nullptr});
  const bool six = options_.bind.find(':') != std::string::npos;
  const std::string host = six ? "[" + options_.bind + "]" : options_.bind;
  const char* token = options_.token.empty() ? "" : "#token=…";
  std::printf("http%s://%s:%u/%s\n", options_.tls_cert.empty() ? "" : "s", host.c_str(), server_.port(),
              token);
  const Site& site = options_.public_site;
  if (!site.name.empty()) std::printf("%s%s/%s\n", site.origin.c_str(), site.path.c_str(), token);
  std::fflush(stdout);
  return true;
}

int Live::run() {
  const guint signals[] = {g_unix_signal_add(SIGINT, quit, loop_), g_unix_signal_add(SIGTERM, quit, loop_)};
  if (options_.seconds > 0) after(options_.seconds * 1000, [this] { g_main_loop_quit(loop_); });
  if (failure_.empty()) g_main_loop_run(loop_);
  for (const guint source : signals) g_source_remove(source);
  server_.close_sessions();
  outputs_.close();
  wait_for_stops(3000);
  return status_;
}

void Live::on_report(const GstStructure* report) {
  feed_.report(report, seconds(generator_.running_time()));
  if (gst_structure_has_name(report, "flowcache-chunk")) {
    outputs_.start();
    double milliseconds = 0;
    gst_structure_get_double(report, "milliseconds", &milliseconds);
    metrics_.chunk_finished(milliseconds);
  } else if (gst_structure_has_name(report, "flowcache-stats")) {
    Json message = stats();
    message["type"] = "stats";
    feed_.publish(message);
  }
}

void Live::on_warning(const std::string& text) {
  // On a machine that is just too slow for its input the filter falls behind and catches up again and again.
  const gint64 now = g_get_monotonic_time();
  if (input_ && text == last_warning_ && now - last_warned_ < gint64{60} * G_USEC_PER_SEC) return;
  last_warning_ = text;
  last_warned_ = now;
  notice("warning", text);
}

void Live::on_policy(const std::string& policy, const std::string& problem) {
  feed_.restarted();
  if (problem.empty()) {
    notice("info", "the policy is now " + (policy.empty() ? "the model's default" : policy));
  } else {
    notice("warning",
           "the policy stays " + (policy.empty() ? "the model's default" : policy) + ": " + problem);
  }
}

void Live::on_failure(const std::string& text) {
  failure_ = text;
  status_ = 1;
  std::fprintf(stderr, "error: %s\n", text.c_str());
  feed_.publish({{"type", "notice"}, {"level", "error"}, {"text", text}});
  g_main_loop_quit(loop_);
}

void Live::notice(const std::string& level, const std::string& text) {
  std::fprintf(stderr, "%s%s\n", level == "info" ? "" : (level + ": ").c_str(), text.c_str());
  feed_.publish({{"type", "notice"}, {"level", level}, {"text", text}});
}

Json Live::hello() {
  return {{"type", "hello"}, {"stats", stats()}, {"chunks", feed_.chunks()}, {"prompts", feed_.prompts()}};
}

Json Live::stats() {
  const StructurePtr structure = generator_.stats();
  const Json stream = json_of(structure.get());
  const double fps = stream.value("native_fps", 0.0);
  const bool timed = fps > 0 && generator_.frames_per_chunk() > 0;
  Json stats = {
      {"stream", stream},
      {"running_time", seconds(generator_.running_time())},
      {"deadline_ms", timed ? Json(generator_.frames_per_chunk() / fps * 1e3) : Json()},
      {"policy", generator_.policy()},
      {"changing_policy", generator_.changing_policy()},
      {"ready", not_ready().empty()},
      {"prompts_waiting", feed_.waiting()},
      {"viewers", viewers()},
      {"connections", {{"open", server_.connections()}, {"refused", server_.refused_connections()}}},
      {"outputs", outputs_.status()}};
  if (input_) stats["input"] = input_->status(feed_.strength());
  return stats;
}

Json Live::viewers() const {
  size_t wanted = 0, connected = 0;
  guint64 frames = 0, lost = 0;
  GstClockTime waiting = 0;
  for (const auto& session : server_.sessions()) {
    const Sender* viewer = session->viewer();
    if (viewer == nullptr) continue;
    ++wanted;
    connected += viewer->connected() ? 1 : 0;
    frames += viewer->frames();
    lost += viewer->dropped();
    waiting = std::max(waiting, viewer->waiting());
  }
  return {{"wanted", wanted}, {"connected", connected}, {"most", options_.max_viewers},
          {"frames", frames}, {"lost", lost},           {"waiting_ms", waiting / GST_MSECOND}};
}

std::string Live::metrics() {
  return metrics_.text(stats());
}

Json Live::ice_servers() {
  Json servers = Json::array();
  for (const IceServer& server : flowcache::live::ice_servers(options_))
    servers.push_back(json_for_browser(server));
  return servers;
}

std::string Live::not_ready() {
  if (!failure_.empty()) return failure_;
  return generator_.flowing() ? "" : "no frame has come yet, or none for five seconds";
}

std::shared_ptr<Sender> Live::make_viewer(Codec codec, bool beyond_loopback, PeerEvents events,
                                          std::string* error) {
  if (viewers()["wanted"].get<size_t>() >= options_.max_viewers) {
    *error = "all " + std::to_string(options_.max_viewers) +
             " places are taken; --max-viewers sets how many there are";
    return nullptr;
  }
  return Sender::make(codec == Codec::H264 ? generator_.h264() : generator_.vp8(), codec,
                      peer_config(beyond_loopback), std::move(events), error);
}

std::shared_ptr<Peer> Live::make_camera(bool beyond_loopback, PeerEvents events, std::string* error) {
  if (input_) return input_->make_camera(peer_config(beyond_loopback), std::move(events), error);
  *error = "this server repaints nothing; --input camera would";
  return nullptr;
}

PeerConfig Live::peer_config(bool beyond_loopback) const {
  PeerConfig config{generator_.base_time(), "", flowcache::live::ice_servers(options_)};
  // WebRTC offers the address that the page is served on, and no other. Behind a proxy it offers all
  // addresses, because the proxy passes on the page but not the picture.
  const bool all = options_.bind == "0.0.0.0" || options_.bind == "::" ||
                   !options_.public_site.name.empty() || (beyond_loopback && is_loopback(options_.bind));
  if (!all) config.address = options_.bind;
  return config;
}

}  // namespace flowcache::live
