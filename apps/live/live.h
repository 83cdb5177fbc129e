// SPDX-License-Identifier: LGPL-2.1-or-later
// The program: connects the generator, the feed, the server and the outputs. Main loop only.
#pragma once

#include "generator.h"
#include "input.h"
#include "metrics.h"
#include "outputs.h"
#include "server.h"

namespace flowcache::live {

class Live : private GeneratorListener, private ServerHost {
 public:
  explicit Live(const Options& options);
  ~Live() override;

  // Returns false, with a sentence on stderr, if the program cannot begin.
  bool start();
  // Runs until a signal comes, --seconds have passed or the stream ends. Returns the exit status.
  int run();

 private:
  // GeneratorListener
  void on_report(const GstStructure* report) override;
  void on_warning(const std::string& text) override;
  void on_policy(const std::string& policy, const std::string& problem) override;
  void on_failure(const std::string& text) override;
  // ServerHost
  Commands& commands() override { return commands_; }
  Feed& feed() override { return feed_; }
  Json hello() override;
  Json stats() override;
  std::string metrics() override;
  std::string input_picture() override { return input_ ? input_->picture() : ""; }
  std::string not_ready() override;
  Json ice_servers() override;
  std::shared_ptr<Sender> make_viewer(Codec codec, bool beyond_loopback, PeerEvents events,
                                      std::string* error) override;
  std::shared_ptr<Peer> make_camera(bool beyond_loopback, PeerEvents events, std::string* error) override;

  PeerConfig peer_config(bool beyond_loopback) const;
  Json viewers() const;
  void notice(const std::string& level, const std::string& text);

  const Options options_;
  Generator generator_;
  Feed feed_;
  Metrics metrics_;
  std::unique_ptr<Input> input_;
  Commands commands_;
  Server server_;
  Outputs outputs_;
  std::string failure_;
  std::string last_warning_;
  gint64 last_warned_ = 0;
  GMainLoop* loop_;
  int status_ = 0;
};

}  // namespace flowcache::live
