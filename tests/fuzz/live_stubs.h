// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache-live without a pipeline: a generator and viewers that only count what reaches them.
#pragma once

#include "server.h"

namespace flowcache::fuzz {

struct Reached {
  unsigned commands = 0;      // prompts, settings and resets that the generator was given
  unsigned highest_line = 0;  // of the candidates that a viewer was given
};
Reached& reached();

class Host final : public live::ServerHost, private live::GeneratorListener {
 public:
  Host();
  live::Commands& commands() override { return commands_; }
  live::Feed& feed() override { return feed_; }
  live::Json hello() override { return {{"type", "hello"}}; }
  live::Json ice_servers() override { return live::Json::array(); }
  std::shared_ptr<live::Sender> make_viewer(live::Codec codec, bool beyond_loopback, live::PeerEvents events,
                                            std::string* error) override;
  std::shared_ptr<live::Peer> make_camera(bool beyond_loopback, live::PeerEvents events,
                                          std::string* error) override;
  live::Json stats() override { return live::Json::object(); }
  std::string metrics() override { return "# no metrics\n"; }
  std::string input_picture() override { return ""; }
  std::string not_ready() override { return ""; }
  // Prompts of earlier inputs are forgotten.
  void begin();

 private:
  void on_report(const GstStructure*) override {}
  void on_warning(const std::string&) override {}
  void on_policy(const std::string&, const std::string&) override {}
  void on_failure(const std::string&) override {}

  static live::Options options_with_input() {
    live::Options options;
    options.input = "camera";
    return options;
  }

  const live::Options options_ = options_with_input();
  live::Generator generator_;
  live::Feed feed_;
  live::Commands commands_;
};

// Runs what is due in the main loop, at most so many times.
void run_main_loop(int most = 1000);

}  // namespace flowcache::fuzz
