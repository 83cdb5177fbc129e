// SPDX-License-Identifier: LGPL-2.1-or-later
// The command line of flowcache-live.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gate.h"
#include "ice.h"

namespace flowcache::live {

struct Options {
  std::string prompt = "slow green aurora over mountains";
  std::string model, cache;
  double cache_threshold = -1;     ///< -1: the model's default
  unsigned width = 0, height = 0;  ///< of the picture; 0: the model's
  uint64_t seed = 1;
  std::string bind = "127.0.0.1";
  std::string token;              ///< empty: none is asked for
  std::vector<IceServer> ice;     ///< STUN and TURN servers
  std::string turn_secret;        ///< for users and passwords that pass, where `ice` has none
  std::string tls_cert, tls_key;  ///< PEM files; both or, for plain HTTP, neither
  Site public_site;
  uint16_t port = 8080;
  unsigned seconds = 0;  ///< 0: until a signal comes
  unsigned max_viewers = 16, max_connections = 64;
  unsigned bitrate = 1500;  ///< kbit/s of each encoder
  std::string rtmp, srt, whip, whip_token;
};

/// Empty if the command line is wrong: the sentence is on stderr then, as its `--help` is on stdout.
/// *status is what to exit with.
std::optional<Options> parse_options(int argc, char** argv, int* status);

/// STUN and TURN servers for one connection, with passwords that hold for a day where there is a secret.
std::vector<IceServer> ice_servers(const Options& options);

/// True if only this machine can reach the address.
bool is_loopback(const std::string& address);

}  // namespace flowcache::live
