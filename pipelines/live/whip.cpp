// SPDX-License-Identifier: LGPL-2.1-or-later
// WHIP: our offer goes to a server by HTTP POST, its answer comes back (draft-ietf-wish-whip; RFC 9725).
// DELETE ends it.
#include <libsoup/soup.h>

#include "outputs.h"
#include "peer.h"

namespace flowcache::live {
namespace {

constexpr gsize most_answer = 64 * 1024;
constexpr guint seconds_to_connect = 15;

class Whip : public Output {
 public:
  Whip(const Options& options, Generator& generator, const Events& events)
      : Output({"whip", options.whip}, events),
        url_(options.whip),
        token_(options.whip_token),
        stun_(options.stun),
        generator_(generator),
        session_(soup_session_new_with_options("timeout", 10u, "max-conns", 2, nullptr)) {}
  ~Whip() override { Whip::close(); }

 protected:
  std::string open() override;
  void close() override;
  OutputFrames frames() const override {
    if (!peer_) return before_;
    return {before_.sent + peer_->frames(), before_.dropped + peer_->dropped(), peer_->waiting()};
  }

 private:
  ObjectPtr<SoupMessage> request(const char* method, const std::string& url) const;
  void post_offer();
  void answered(SoupMessage* message, GInputStream* stream);
  static void on_response(GObject* session, GAsyncResult* result, gpointer call);
  static void on_body(GObject* stream, GAsyncResult* result, gpointer call);

  /// One POST and what became of its attempt.
  struct Call {
    std::weak_ptr<Whip*> attempt;
    ObjectPtr<SoupMessage> message;
  };

  const std::string url_, token_, stun_;
  Generator& generator_;
  ObjectPtr<SoupSession> session_;
  std::shared_ptr<Peer> peer_;
  OutputFrames before_;  // of earlier attempts
  std::shared_ptr<Whip*> attempt_;
  std::string resource_;  // where to DELETE; empty: nowhere
  bool posted_ = false;
};

std::string Whip::open() {
  std::string error;
  attempt_ = std::make_shared<Whip*>(this);
  posted_ = false;
  PeerEvents events;
  events.gathered = [this] { post_offer(); };
  events.state = [this](const std::string& state) {
    if (state == "connected") started();
  };
  events.failed = [this](const std::string& reason) { broken(reason); };
  peer_ = Peer::make(generator_.h264(), {Codec::H264, generator_.base_time(), "", stun_}, std::move(events),
                     &error);
  after(seconds_to_connect * 1000, [weak = std::weak_ptr(attempt_)] {
    const auto self = weak.lock();
    if (self && (*self)->state() != State::Sending) (*self)->broken("no connection after fifteen seconds");
  });
  return peer_ ? "" : error;
}

void Whip::close() {
  before_ = {frames().sent, frames().dropped};
  attempt_.reset();
  peer_.reset();
  if (resource_.empty()) return;
  const auto message = request("DELETE", resource_);
  resource_.clear();
  if (!message) return;
  const auto finished = [](GObject* session, GAsyncResult* result, gpointer hold) {
    const ObjectPtr<GInputStream> answer(soup_session_send_finish(SOUP_SESSION(session), result, nullptr));
    delete static_cast<std::shared_ptr<void>*>(hold);
  };
  // Not given up when the program ends.
  soup_session_send_async(session_.get(), message.get(), G_PRIORITY_DEFAULT, nullptr, finished,
                          new std::shared_ptr<void>(hold_exit()));
}

ObjectPtr<SoupMessage> Whip::request(const char* method, const std::string& url) const {
  ObjectPtr<SoupMessage> message(soup_message_new(method, url.c_str()));
  if (message && !token_.empty()) {
    soup_message_headers_replace(soup_message_get_request_headers(message.get()), "Authorization",
                                 ("Bearer " + token_).c_str());
  }
  return message;
}

void Whip::post_offer() {
  if (posted_) return;
  posted_ = true;
  const std::string sdp = peer_->local_sdp();
  auto message = request("POST", url_);
  if (!message) {
    broken("that is no address");
    return;
  }
  GBytes* body = g_bytes_new(sdp.data(), sdp.size());
  soup_message_set_request_body_from_bytes(message.get(), "application/sdp", body);
  g_bytes_unref(body);
  SoupMessage* borrowed = message.get();
  soup_session_send_async(session_.get(), borrowed, G_PRIORITY_DEFAULT, nullptr, on_response,
                          new Call{attempt_, std::move(message)});
}

void Whip::on_response(GObject* session, GAsyncResult* result, gpointer data) {
  std::unique_ptr<Call> call(static_cast<Call*>(data));
  GError* error = nullptr;
  const ObjectPtr<GInputStream> stream(soup_session_send_finish(SOUP_SESSION(session), result, &error));
  const auto self = call->attempt.lock();
  if (!self) {
    g_clear_error(&error);
    return;
  }
  if (!stream) {
    (*self)->broken(take_message(error));
    return;
  }
  (*self)->answered(call->message.get(), stream.get());
  if (!call->attempt.expired() && !(*self)->resource_.empty()) {
    g_input_stream_read_bytes_async(stream.get(), most_answer, G_PRIORITY_DEFAULT, nullptr, on_body,
                                    call.release());
  }
}

/// Looks at status and headers; the SDP follows.
void Whip::answered(SoupMessage* message, GInputStream*) {
  const unsigned status = soup_message_get_status(message);
  const char* location = soup_message_headers_get_one(soup_message_get_response_headers(message), "Location");
  if (status != 201) {
    broken("the server answers " + std::to_string(status) + " " + soup_status_get_phrase(status));
    return;
  }
  const TextPtr absolute(g_uri_resolve_relative(url_.c_str(), location == nullptr ? "" : location,
                                                static_cast<GUriFlags>(SOUP_HTTP_URI_FLAGS), nullptr));
  resource_ = absolute ? absolute.get() : url_;
}

void Whip::on_body(GObject* stream, GAsyncResult* result, gpointer data) {
  const std::unique_ptr<Call> call(static_cast<Call*>(data));
  GError* error = nullptr;
  GBytes* bytes = g_input_stream_read_bytes_finish(G_INPUT_STREAM(stream), result, &error);
  const auto self = call->attempt.lock();
  std::string sdp;
  if (bytes != nullptr) {
    gsize size = 0;
    const auto* text = static_cast<const char*>(g_bytes_get_data(bytes, &size));
    sdp.assign(text == nullptr ? "" : text, size);
    g_bytes_unref(bytes);
  }
  g_clear_error(&error);
  if (!self) return;
  if (const std::string problem = (*self)->peer_->answer(sdp); !problem.empty()) {
    (*self)->broken("the server's answer: " + problem);
  }
}

}  // namespace

std::unique_ptr<Output> make_whip(const Options& options, Generator& generator,
                                  const Output::Events& events) {
  return std::make_unique<Whip>(options, generator, events);
}

}  // namespace flowcache::live
