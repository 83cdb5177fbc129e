// SPDX-License-Identifier: LGPL-2.1-or-later
// WHIP (RFC 9725). We POST an offer with all our candidates, and the server's answer names a session. DELETE
// of that session ends it. We send no candidates later (trickle ICE), so PATCH is not needed.
#include "exchange.h"
#include "outputs.h"
#include "sender.h"

namespace flowcache::live {
namespace {

constexpr guint seconds_to_connect = 15;

class Whip : public Output {
 public:
  Whip(const Options& options, Generator& generator, const Events& events)
      : Output({"whip", options.whip}, events),
        options_(options),
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
  void ask_server(Question question, void (Whip::*then)(const Answer&));
  void make_peer(const Answer& options);
  void post_offer();
  void answered(const Answer& answer);

  const Options options_;
  Generator& generator_;
  ObjectPtr<SoupSession> session_;
  ObjectPtr<GCancellable> cancellable_;  // cancels the requests of an attempt
  std::shared_ptr<Sender> peer_;
  OutputFrames before_;  // of earlier attempts
  std::shared_ptr<Whip*> attempt_;
  std::vector<IceServer> servers_;   // that the server's answer names
  std::string session_url_, token_;  // what to DELETE, if not empty, and with which token
  bool posted_ = false;
};

// Calls `then` with the answer, unless the attempt has ended before.
void Whip::ask_server(Question question, void (Whip::*then)(const Answer&)) {
  ask(session_.get(), std::move(question), cancellable_.get(),
      [weak = std::weak_ptr(attempt_), then](const Answer& answer) {
        if (const auto self = weak.lock()) ((*self)->*then)(answer);
      });
}

std::string Whip::open() {
  attempt_ = std::make_shared<Whip*>(this);
  cancellable_.reset(g_cancellable_new());
  posted_ = false;
  after(seconds_to_connect * 1000, [weak = std::weak_ptr(attempt_)] {
    const auto self = weak.lock();
    if (self && (*self)->state() != State::Sending) (*self)->broken("no connection after fifteen seconds");
  });
  // Candidates are gathered before the POST, and that takes the server's STUN and TURN servers. The answer to
  // the POST would name them too late, so an OPTIONS request asks for them first. A server need not answer
  // it.
  ask_server({"OPTIONS", options_.whip, options_.whip_token, "", ""}, &Whip::make_peer);
  return "";
}

void Whip::make_peer(const Answer& answer) {
  if (auto named = ice_servers_of_links(answer.links); !named.empty()) servers_ = std::move(named);
  PeerConfig config{generator_.base_time(), "", ice_servers(options_)};
  config.ice.insert(config.ice.end(), servers_.begin(), servers_.end());
  PeerEvents events;
  events.gathered = [this] { post_offer(); };
  events.state = [this](const std::string& state) {
    if (state == "connected") started();
  };
  events.failed = [this](const std::string& reason) { broken(reason); };
  std::string error;
  peer_ = Sender::make(generator_.h264(), Codec::H264, config, std::move(events), &error);
  if (!peer_) broken(error);
}

void Whip::close() {
  before_ = {frames().sent, frames().dropped};
  attempt_.reset();
  if (cancellable_) g_cancellable_cancel(cancellable_.get());
  peer_.reset();
  if (session_url_.empty()) return;
  // hold_exit(): the program waits for the answer before it ends.
  ask(session_.get(), {"DELETE", session_url_, token_, "", ""}, nullptr,
      [hold = hold_exit()](const Answer&) {});
  session_url_.clear();
}

void Whip::post_offer() {
  if (posted_) return;
  posted_ = true;
  ask_server({"POST", options_.whip, options_.whip_token, "application/sdp", peer_->local_sdp()},
             &Whip::answered);
}

void Whip::answered(const Answer& answer) {
  if (!answer.error.empty()) return broken(answer.error);
  if (answer.status != 201) {
    const std::string to =
        answer.location.empty() ? "" : ", which is no way to send a POST elsewhere: 307 and 308 are";
    return broken("the server answers " + std::to_string(answer.status) + " " +
                      soup_status_get_phrase(answer.status) + to,
                  answer.retry_after);
  }
  session_url_ = answer.location;  // a server without it breaks the RFC: its session ends by a timeout
  token_ = answer.knows_token ? options_.whip_token : "";
  // This attempt may fail without these servers; the next one uses them.
  if (auto named = ice_servers_of_links(answer.links); !named.empty()) servers_ = std::move(named);
  if (answer.type != "application/sdp")
    return broken("the server answers with \"" + answer.type + "\" instead of application/sdp");
  if (const std::string problem = peer_->answer(answer.body); !problem.empty()) {
    broken("the server's answer: " + problem);
  }
}

}  // namespace

std::unique_ptr<Output> make_whip(const Options& options, Generator& generator,
                                  const Output::Events& events) {
  return std::make_unique<Whip>(options, generator, events);
}

}  // namespace flowcache::live
