// SPDX-License-Identifier: LGPL-2.1-or-later
#include "peer.h"

#include "sdp.h"

#define GST_USE_UNSTABLE_API
#include <gst/sdp/sdp.h>
#include <gst/webrtc/webrtc.h>

namespace flowcache::live {
namespace {

// webrtcbin emits its signals on threads of its own. The handlers pass a weak pointer to the main loop.
using Weak = std::weak_ptr<Peer>;

gpointer carry(const std::shared_ptr<Peer>& peer) {
  return new Weak(peer);
}

void drop_carried(gpointer data, GClosure*) {
  delete static_cast<Weak*>(data);
}

// Runs work(peer) in the main loop, if the peer still exists then.
void tell(gpointer carried, std::function<void(Peer&)> work) {
  on_main([weak = *static_cast<Weak*>(carried), work = std::move(work)] {
    if (const auto peer = weak.lock()) work(*peer);
  });
}

std::string text_of_description(GstElement* webrtc, const char* property) {
  GstWebRTCSessionDescription* description = nullptr;
  g_object_get(webrtc, property, &description, nullptr);
  if (description == nullptr) return "";
  const TextPtr text(gst_sdp_message_as_text(description->sdp));
  gst_webrtc_session_description_free(description);
  return text.get();
}

}  // namespace

bool Peer::prepare(const std::string& line, const PeerConfig& config, std::string* error) {
  pipeline_ = make_pipeline(line, config.base_time, error);
  if (!pipeline_) return false;
  webrtc_ = child(pipeline_.get(), "webrtc");
  set_up_ice(config);
  return true;
}

void Peer::begin() {
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline_.get()));
  gst_bus_add_watch(bus.get(), on_bus, this);
  connect_signals();
  gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);
  create_offer();
}

Peer::~Peer() {
  stop_later(std::move(pipeline_));
}

// Limits ICE to `address`, if there is one. Switches off UPnP, by which libnice would ask routers to open
// ports, and switches on the checks that notice a viewer that does not answer any more.
void Peer::set_up_ice(const PeerConfig& config) {
  // webrtcbin uses one STUN server: it gets the first. libnice speaks no TLS to TURN servers, so `turns`
  // servers are for the viewers only.
  bool has_stun = false;
  for (const IceServer& server : config.ice) {
    const std::string address = address_for_webrtcbin(server);
    gboolean taken = FALSE;
    if (server.scheme == "turn") g_signal_emit_by_name(webrtc_, "add-turn-server", address.c_str(), &taken);
    if (server.scheme != "stun" || has_stun) continue;
    g_object_set(webrtc_, "stun-server", address.c_str(), nullptr);
    has_stun = true;
  }
  GObject *ice = nullptr, *agent = nullptr;
  g_object_get(webrtc_, "ice-agent", &ice, nullptr);
  const ObjectPtr<GObject> ice_owner(ice);
  if (g_object_class_find_property(G_OBJECT_GET_CLASS(ice), "agent") != nullptr) {
    g_object_get(ice, "agent", &agent, nullptr);
  }
  const ObjectPtr<GObject> agent_owner(agent);
  const auto set = [agent](const char* property, gboolean value) {
    if (agent == nullptr || g_object_class_find_property(G_OBJECT_GET_CLASS(agent), property) == nullptr)
      return;
    g_object_set(agent, property, value, nullptr);
  };
  set("upnp", FALSE);
  set("keepalive-conncheck", TRUE);
  gboolean added = FALSE;
  if (!config.address.empty())
    g_signal_emit_by_name(ice, "add-local-ip-address", config.address.c_str(), &added);
}

void Peer::connect_signals() {
  const auto shared = shared_from_this();
  const auto connect = [&](const char* name, GCallback callback) {
    g_signal_connect_data(webrtc_, name, callback, carry(shared), drop_carried, GConnectFlags(0));
  };
  connect("on-ice-candidate", G_CALLBACK(+[](GstElement*, guint mline, const char* text, gpointer carried) {
            tell(carried, [mline, candidate = std::string(text)](Peer& peer) {
              if (peer.events_.candidate) peer.events_.candidate(mline, candidate);
            });
          }));
  connect("notify::connection-state", G_CALLBACK(+[](GstElement*, GParamSpec*, gpointer carried) {
            tell(carried, [](Peer& peer) { peer.state_changed(); });
          }));
  connect("notify::ice-gathering-state", G_CALLBACK(+[](GstElement* webrtc, GParamSpec*, gpointer carried) {
            GstWebRTCICEGatheringState state;
            g_object_get(webrtc, "ice-gathering-state", &state, nullptr);
            if (state != GST_WEBRTC_ICE_GATHERING_STATE_COMPLETE) return;
            tell(carried, [](Peer& peer) {
              if (peer.events_.gathered) peer.events_.gathered();
            });
          }));
}

void Peer::create_offer() {
  GstPromise* promise = gst_promise_new_with_change_func(
      [](GstPromise* promise, gpointer carried) {
        // The promise lives as long as the work, whether that runs or not.
        const std::shared_ptr<GstPromise> kept(promise, gst_promise_unref);
        tell(carried, [kept](Peer& peer) { peer.offer_created(kept.get()); });
      },
      carry(shared_from_this()), [](gpointer data) { drop_carried(data, nullptr); });
  g_signal_emit_by_name(webrtc_, "create-offer", nullptr, promise);
}

void Peer::offer_created(GstPromise* promise) {
  GstWebRTCSessionDescription* offer = nullptr;
  const GstStructure* reply = gst_promise_get_reply(promise);
  if (reply == nullptr ||
      !gst_structure_get(reply, "offer", GST_TYPE_WEBRTC_SESSION_DESCRIPTION, &offer, nullptr) ||
      offer == nullptr) {
    fail("no offer could be made");
    return;
  }
  g_signal_emit_by_name(webrtc_, "set-local-description", offer, nullptr);
  const TextPtr text(gst_sdp_message_as_text(offer->sdp));
  gst_webrtc_session_description_free(offer);
  offered_ = true;
  if (events_.offer) events_.offer(text.get());
}

std::string Peer::answer(const std::string& sdp) {
  if (!offered_) return "there is no offer to answer yet";
  if (answered_) return "the offer has been answered";
  if (std::string problem = problem_of_answer(sdp); !problem.empty()) return problem;
  GstSDPMessage* message = nullptr;
  if (gst_sdp_message_new_from_text(sdp.c_str(), &message) != GST_SDP_OK) return "that is no SDP";
  GstWebRTCSessionDescription* description =
      gst_webrtc_session_description_new(GST_WEBRTC_SDP_TYPE_ANSWER, message);
  GstPromise* done = gst_promise_new_with_change_func(
      [](GstPromise* promise, gpointer carried) {
        const GstStructure* reply = gst_promise_get_reply(promise);
        GError* error = nullptr;
        if (reply != nullptr && gst_structure_get(reply, "error", G_TYPE_ERROR, &error, nullptr)) {
          tell(carried,
               [text = take_message(error)](Peer& peer) { peer.fail("the answer was refused: " + text); });
        }
        gst_promise_unref(promise);
      },
      carry(shared_from_this()), [](gpointer data) { drop_carried(data, nullptr); });
  g_signal_emit_by_name(webrtc_, "set-remote-description", description, done);
  gst_webrtc_session_description_free(description);
  answered_ = true;
  return "";
}

std::string Peer::add_candidate(unsigned mline, const std::string& candidate) {
  if (!answered_) return "candidates come after the answer";
  if (mline != 0) return "there is one m= line only, number 0";
  if (candidate.empty()) return "";  // the browser says that there are no more
  if (candidate.size() > most_candidate || candidate.rfind("candidate:", 0) != 0)
    return "that is no candidate";
  if (++candidates_ > most_candidates) return "more than " + std::to_string(most_candidates) + " candidates";
  g_signal_emit_by_name(webrtc_, "add-ice-candidate", mline, candidate.c_str());
  return "";
}

std::string Peer::local_sdp() const {
  return text_of_description(webrtc_, "local-description");
}

void Peer::state_changed() {
  static const char* names[] = {"new", "connecting", "connected", "disconnected", "failed", "closed"};
  GstWebRTCPeerConnectionState state;
  g_object_get(webrtc_, "connection-state", &state, nullptr);
  if (state == GST_WEBRTC_PEER_CONNECTION_STATE_CONNECTED && !std::exchange(up_, true)) came_up();
  const auto self = shared_from_this();  // the listener may release this peer
  if (events_.state) events_.state(names[state]);
  if (state == GST_WEBRTC_PEER_CONNECTION_STATE_FAILED) fail("the connection failed");
}

void Peer::fail(const std::string& reason) {
  if (failed_) return;
  failed_ = true;
  const auto self = shared_from_this();
  if (events_.failed) events_.failed(reason);
}

gboolean Peer::on_bus(GstBus*, GstMessage* message, gpointer data) {
  auto* self = static_cast<Peer*>(data);
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    GError* error = nullptr;
    gst_message_parse_error(message, &error, nullptr);
    self->fail(take_message(error));
  } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_LATENCY) {
    gst_bin_recalculate_latency(GST_BIN(self->pipeline_.get()));
  }
  return G_SOURCE_CONTINUE;
}

}  // namespace flowcache::live
