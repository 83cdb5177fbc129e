// SPDX-License-Identifier: LGPL-2.1-or-later
#include "peer.h"

#include "sdp.h"

#define GST_USE_UNSTABLE_API
#include <gst/sdp/sdp.h>
#include <gst/video/video.h>
#include <gst/webrtc/webrtc.h>

namespace flowcache::live {
namespace {

// Packets of 1200 bytes fit every path. Each key frame carries SPS and PPS, so that a viewer can begin at any
// of them. The parser adds them (config-interval), once a picture. The payloader would add them before each
// slice, and a receiver takes that for the beginning of another picture.
constexpr const char* vp8_line =
    "rtpvp8pay mtu=1200 picture-id-mode=15-bit ! application/x-rtp,media=video,encoding-name=VP8,payload=96,"
    "clock-rate=90000";
constexpr const char* h264_line =
    "h264parse config-interval=-1 ! rtph264pay pt=96 mtu=1200 aggregate-mode=zero-latency";
constexpr const char* h264_caps =
    "application/"
    "x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1";
constexpr const char* offered_profile = "42e01f";

// Caps with an SSRC. webrtcbin puts an SSRC into the offer only if the caps have one, and the payloader
// takes it from them. Media servers drop packets of an SSRC that was not offered, and retransmission needs
// it too.
std::string with_ssrc(const char* caps, guint ssrc) {
  return caps + (",ssrc=(uint)" + std::to_string(ssrc));
}

// A probe in front of webrtcbin that hides the encoder's profile-level-id. The encoder chooses a level by
// the size of the picture, but browsers accept only a few levels, so 3.1 is always offered. webrtcbin
// accepts only what it offered. Therefore this probe answers caps queries in its place, without a level, and
// replaces the level in the caps that pass by with the offered one.
GstPadProbeReturn name_as_offered(GstPad*, GstPadProbeInfo* info, gpointer ssrc) {
  if ((GST_PAD_PROBE_INFO_TYPE(info) & GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM) != 0) {
    GstQuery* query = GST_PAD_PROBE_INFO_QUERY(info);
    if (GST_QUERY_TYPE(query) != GST_QUERY_CAPS) return GST_PAD_PROBE_OK;
    GstCaps* filter = nullptr;
    gst_query_parse_caps(query, &filter);
    CapsPtr taken(gst_caps_from_string(with_ssrc(h264_caps, GPOINTER_TO_UINT(ssrc)).c_str()));
    if (filter != nullptr)
      taken.reset(gst_caps_intersect_full(filter, taken.get(), GST_CAPS_INTERSECT_FIRST));
    gst_query_set_caps_result(query, taken.get());
    return GST_PAD_PROBE_HANDLED;
  }
  GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
  if (GST_EVENT_TYPE(event) != GST_EVENT_CAPS) return GST_PAD_PROBE_OK;
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  const CapsPtr renamed(gst_caps_copy(caps));
  gst_caps_set_simple(renamed.get(), "profile-level-id", G_TYPE_STRING, offered_profile, nullptr);
  GST_PAD_PROBE_INFO_DATA(info) = gst_event_new_caps(renamed.get());
  gst_event_unref(event);
  return GST_PAD_PROBE_OK;
}

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

GstPadProbeReturn watch_keyframe_requests(GstPad*, GstPadProbeInfo* info, gpointer tap) {
  if (gst_video_event_is_force_key_unit(GST_PAD_PROBE_INFO_EVENT(info)))
    static_cast<Tap*>(tap)->request_keyframe();
  return GST_PAD_PROBE_OK;
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

std::shared_ptr<Peer> Peer::make(Tap& tap, const PeerConfig& config, PeerEvents events, std::string* error) {
  std::shared_ptr<Peer> peer(new Peer(tap, std::move(events)));
  if (!peer->open(config, error)) return nullptr;
  return peer;
}

bool Peer::open(const PeerConfig& config, std::string* error) {
  const guint ssrc = g_random_int_range(1, G_MAXINT32);
  const std::string payload = config.codec == Codec::H264 ? h264_line : with_ssrc(vp8_line, ssrc);
  pipeline_ = make_pipeline("appsrc name=source is-live=true format=time max-bytes=0 ! " + payload +
                                " ! webrtcbin name=webrtc bundle-policy=max-bundle",
                            config.base_time, error);
  if (!pipeline_) return false;
  webrtc_ = child(pipeline_.get(), "webrtc");
  set_up_ice(config);
  GstWebRTCRTPTransceiver* transceiver = nullptr;
  g_signal_emit_by_name(webrtc_, "get-transceiver", 0, &transceiver);
  // Lost packets are sent again. Otherwise a viewer that loses one would ask for a key frame, which costs all
  // other viewers bandwidth.
  g_object_set(transceiver, "direction", GST_WEBRTC_RTP_TRANSCEIVER_DIRECTION_SENDONLY, "do-nack", TRUE,
               nullptr);
  if (config.codec == Codec::H264) offer_h264(transceiver, ssrc);
  gst_object_unref(transceiver);
  const GstPtr<GstPad> pad(gst_element_get_static_pad(child(pipeline_.get(), "source"), "src"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, watch_keyframe_requests, &tap_, nullptr);
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline_.get()));
  gst_bus_add_watch(bus.get(), on_bus, this);
  connect_signals();
  gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);
  create_offer();
  return true;
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

void Peer::offer_h264(gpointer transceiver, guint ssrc) {
  const CapsPtr offered(gst_caps_from_string(with_ssrc(h264_caps, ssrc).c_str()));
  gst_caps_set_simple(offered.get(), "profile-level-id", G_TYPE_STRING, offered_profile, nullptr);
  g_object_set(transceiver, "codec-preferences", offered.get(), nullptr);
  const GstPtr<GstPad> sink(gst_element_get_static_pad(webrtc_, "sink_0"));
  const GstPtr<GstPad> feeding(gst_pad_get_peer(sink.get()));
  const auto types = static_cast<GstPadProbeType>(
      GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM | GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH);
  gst_pad_add_probe(feeding.get(), types, name_as_offered, GUINT_TO_POINTER(ssrc), nullptr);
}

Peer::~Peer() {
  if (consumer_) tap_.detach(consumer_);
  stop_later(std::move(pipeline_));
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
  if (state == GST_WEBRTC_PEER_CONNECTION_STATE_CONNECTED && !consumer_) {
    consumer_ = tap_.attach(child(pipeline_.get(), "source"));
  }
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
